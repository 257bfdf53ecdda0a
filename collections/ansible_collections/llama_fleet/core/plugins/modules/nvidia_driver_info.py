# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# ruff: noqa: E402 - Ansible wants the documentation before the imports.
"""Which GPUs a host has, whether llama.cpp can use them, and every reason why not."""

from __future__ import annotations

DOCUMENTATION = r"""
module: nvidia_driver_info
short_description: Which GPUs a host has and whether llama.cpp can use them
version_added: 0.1.0
description:
  - Looks for NVIDIA devices on the PCI bus, asks the driver about them with one call of C(nvidia-smi), and reads in the
    kernel's files and log why it fails.
  - Fails, with every reason and the worst first, where a device is there that cannot be used, so that a GPU host never
    serves from its CPU unasked; and where
    the GPUs that are there are not as they are asked for.
  - Needs no facts and nothing but Python on the host, changes nothing, and ends within a minute even if the driver
    hangs.
options:
  gpu:
    description:
      - V(auto) uses the GPUs that work and the CPU where the host has no NVIDIA device.
      - V(required) fails where no GPU can be used.
      - V(none) uses the CPU, and looks at nothing.
    type: str
    choices: [auto, required, none]
    default: auto
  min_driver:
    description:
      - The oldest driver that will do, such as V(580.65).
      - Like all that follow it is about hosts with an NVIDIA device. One without serves from its CPU, or fails where a
        GPU is required.
    type: str
    default: ""
  toolkit_version:
    description: A CUDA toolkit that the driver has to run and that has to know the GPUs, such as V(13.0).
    type: str
    default: ""
  min_free_memory:
    description:
      - MiB that have to be free on each GPU, on as many as O(gpus) is a number of, or on those it names.
      - What a llama-server of the host holds counts as free, so that a run again does not fail on its own server.
    type: int
    default: 0
  gpus:
    description: UUIDs of the GPUs or MIG devices that have to be there, as C(nvidia-smi -L) shows them, or one number
      of usable GPUs.
    type: list
    elements: str
    default: []
  compute_capability:
    description: The least compute capability that will do, such as V(8.0).
    type: str
    default: ""
  runtime:
    description: What the server is to run in. What that needs to get at the GPUs is looked at too, and an error where
      it is missing.
    type: str
    choices: ["", auto, systemd, quadlet, docker, process, exec]
    default: ""
  user:
    description:
      - A user who has to be able to open the driver's device files. One that does not exist is in no group.
      - "Empty: with O(runtime=systemd) that of the unit."
    type: str
    default: ""
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

- name: Stop where not two GPUs have 40 GiB free, or the driver does not run CUDA 13
  llama_fleet.core.nvidia_driver_info:
    gpu: required
    gpus: ["2"]
    min_free_memory: 40960
    toolkit_version: "13.0"
"""

RETURN = r"""
backend:
  description: What llama.cpp is to be built for, V(cuda) or V(cpu).
  returned: success
  type: str
  sample: cuda
driver:
  description: Versions of the driver's user space, of the newest CUDA it runs and of the loaded kernel module; empty
    where there is none of it.
  returned: always
  type: dict
  sample:
    version: 580.95.05
    cuda_version: "13.0"
    kernel_module_version: 580.95.05
gpus:
  description:
    - The GPUs that can be used, in the driver's order. Memory is 0 where the driver does not tell it, and a text is
      empty.
    - C(ecc.uncorrectable) counts since the driver was loaded. C(limits_reached) names what slows the GPU down now, as
      the driver calls it.
    - C(processes) are programs without their arguments; in a container there are none.
  returned: always
  type: list
  elements: dict
  sample:
    - index: 0
      uuid: GPU-5f3a9c1e-0b7d-4a52-9d0e-2c61f8b7e410
      name: NVIDIA H100 80GB HBM3
      architecture: Hopper
      compute_capability: "9.0"
      memory_total_mib: 81559
      memory_free_mib: 81079
      pci_address: "00000000:65:00.0"
      mig_mode: disabled
      mig_mode_pending: disabled
      mig_devices: []
      compute_mode: default
      ecc: {mode: enabled, mode_pending: enabled, uncorrectable: 0, repair_pending: false, repair_failed: false}
      persistence: true
      processes:
        - {pid: 812, name: /usr/bin/python3, kind: C, memory_mib: 470}
      limits_reached: [sw_power_cap]
      fabric_state: completed
      recovery_action: ""
cuda_architectures:
  description: CMake's names of the architectures of all GPUs, sorted.
  returned: always
  type: list
  elements: str
  sample: [90-real]
container:
  description:
    - The version of NVIDIA's container toolkit, empty where it is not installed, and the CDI descriptions of GPUs with
      the driver they were made for.
    - Not looked at where there is no NVIDIA device.
  returned: always
  type: dict
  sample:
    toolkit_version: 1.17.8
    has_toolkit: true
    cdi:
      - {path: /etc/cdi/nvidia.yaml, driver_version: 580.95.05, devices: ["0", all], matches: true}
problems:
  description:
    - Every reason why a GPU is not used or may soon not be, with a stable code, the worst first.
    - A V(warning) did not stop the module, an V(error) did.
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
import pwd
import typing

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.llama_fleet.core.plugins.module_utils import stage
from ansible_collections.llama_fleet.core.plugins.module_utils.arguments import argument_spec
from ansible_collections.llama_fleet.core.plugins.module_utils.host import commands
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia import container as nvidia_container
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia import examine as nvidia_host
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia import observe as nvidia
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia import requirements as nvidia_requirements
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia.kernel import Account
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError

ARGUMENTS = {**argument_spec(nvidia_requirements.Requirements), **stage.OVERRIDES}


def main() -> None:
    stage.conclude(AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True), _look)


def _look(module: AnsibleModule) -> dict[str, typing.Any]:
    gpu = module.params["gpu"]
    try:
        wanted = nvidia_requirements.parse(module.params)
    except ProblemError as error:
        # Like all other problems of this module, with a code.
        told = [
            {"code": "bad_requirement", "severity": "error", **dataclasses.asdict(problem)}
            for problem in error.problems
        ]
        module.fail_json(msg=str(error), problems=told)
    folders = tuple(os.environ.get("PATH", "").split(os.pathsep)) + nvidia.MORE_FOLDERS
    if gpu == "none":
        examined = nvidia_host.Examination(nvidia.Observation(), nvidia_container.Support())
    else:
        examined = nvidia_host.examine(nvidia.Host(commands.run, folders=folders), wanted, _account(wanted.user))
    seen = nvidia.judged(gpu, examined.seen)
    refusal = nvidia.refusal(gpu, seen)
    result = {
        "changed": False,
        "driver": dataclasses.asdict(seen.driver) if seen.driver else {},
        "gpus": [dataclasses.asdict(each) for each in seen.gpus],
        "cuda_architectures": seen.architectures,
        "container": dataclasses.asdict(examined.support),
        "problems": [dataclasses.asdict(each) for each in seen.findings],
    }
    if refusal:
        module.fail_json(msg=refusal, **result)
    for finding in seen.findings:
        if seen.usable:
            module.warn(str(finding))
    return {"backend": "cuda" if seen.usable else "cpu", **result}


def _account(name: str) -> Account | None:
    if not name:
        return None
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return Account(name)
    return Account(name, entry.pw_uid, tuple(os.getgrouplist(name, entry.pw_gid)))


if __name__ == "__main__":
    main()
