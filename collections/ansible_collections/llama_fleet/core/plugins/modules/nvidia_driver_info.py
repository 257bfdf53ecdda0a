# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# ruff: noqa: E402 - Ansible wants the documentation before the imports.
"""Which GPUs a host has and whether llama.cpp can use them."""

from __future__ import annotations

DOCUMENTATION = r"""
module: nvidia_driver_info
short_description: Which GPUs a host has and whether llama.cpp can use them
version_added: 0.1.0
description:
  - Looks for NVIDIA devices on the PCI bus and asks the driver about them with C(nvidia-smi).
  - Fails, with every reason, where a device is there that cannot be used, so that a GPU host never serves from its CPU unasked.
  - Needs no facts and nothing but Python on the host, and ends within 40 seconds even if the driver hangs.
options:
  gpu:
    description:
      - V(auto) uses the GPUs that work and the CPU where the host has no NVIDIA device.
      - V(required) fails where no GPU can be used.
      - V(none) uses the CPU, and looks at nothing.
    type: str
    choices: [auto, required, none]
    default: auto
author:
  - The llama-fleet authors (@llama-fleet)
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
extends_documentation_fragment:
  - llama_fleet.core.stage.overrides
  - llama_fleet.core.stage.attributes
"""

EXAMPLES = r"""
- name: Look at the GPUs
  llama_fleet.core.nvidia_driver_info:
  register: found

- name: Stop where no GPU can be used
  llama_fleet.core.nvidia_driver_info:
    gpu: required
"""

RETURN = r"""
backend:
  description: What llama.cpp is to be built for, V(cuda) or V(cpu).
  returned: success
  type: str
  sample: cuda
driver:
  description: The driver's version and the newest CUDA version it runs; empty where there is no working driver.
  returned: always
  type: dict
  sample:
    version: 580.95.05
    cuda_version: "13.0"
gpus:
  description: The GPUs that can be used, in the driver's order. Memory is 0 where the driver does not tell it.
  returned: always
  type: list
  elements: dict
  sample:
    - index: 0
      uuid: GPU-5f3a9c1e-0b7d-4a52-9d0e-2c61f8b7e410
      name: NVIDIA H100 80GB HBM3
      compute_capability: "9.0"
      memory_total_mib: 81559
      memory_free_mib: 81079
      pci_address: "00000000:65:00.0"
cuda_architectures:
  description: CMake's names of the architectures of all GPUs, sorted.
  returned: always
  type: list
  elements: str
  sample: [90-real]
problems:
  description: Every reason why a GPU is not used, with a stable code; a V(warning) did not stop the module, an V(error) did.
  returned: always
  type: list
  elements: dict
  sample:
    - code: no_device
      severity: warning
      found: no NVIDIA device on the PCI bus
      wanted: an NVIDIA GPU
      fix: install one, pass it through to the virtual machine, or use the CPU
"""

import dataclasses
import os

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.llama_fleet.core.plugins.module_utils import commands, nvidia
from ansible_collections.llama_fleet.core.plugins.module_utils.stage import OVERRIDES


def main() -> None:
    module = AnsibleModule(
        argument_spec={"gpu": {"type": "str", "choices": ["auto", "required", "none"], "default": "auto"}, **OVERRIDES},
        supports_check_mode=True,
    )
    gpu = module.params["gpu"]
    folders = tuple(os.environ.get("PATH", "").split(os.pathsep)) + nvidia.MORE_FOLDERS
    host = nvidia.Host(commands.run, folders=folders)
    seen = nvidia.Observation() if gpu == "none" else nvidia.judged(gpu, nvidia.observe(host))
    refusal = nvidia.refusal(gpu, seen)
    result = {
        "changed": False,
        "driver": dataclasses.asdict(seen.driver) if seen.driver else {},
        "gpus": [dataclasses.asdict(each) for each in seen.gpus],
        "cuda_architectures": seen.architectures,
        "problems": [dataclasses.asdict(each) for each in seen.findings],
    }
    if refusal:
        module.fail_json(msg=refusal, **result)
    for finding in seen.findings:
        if seen.usable:
            module.warn(str(finding))
    module.exit_json(backend="cuda" if seen.usable else "cpu", **result)


if __name__ == "__main__":
    main()
