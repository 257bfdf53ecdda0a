# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# ruff: noqa: E402 - Ansible wants the documentation before the imports.
from __future__ import annotations

DOCUMENTATION = r"""
module: nvidia_driver_info
short_description: Check a host's GPUs and NVIDIA driver
version_added: 0.1.0
description:
  - Looks for NVIDIA devices on the PCI bus, queries the driver with a single call of C(nvidia-smi), and finds out from
    the kernel's files and log why a driver does not work.
  - Fails if a device is present but unusable, so that a GPU host never silently serves from its CPU, and if the GPUs do
    not meet the requirements. All reasons are reported, the most serious first.
  - Needs no facts and only Python on the host, changes nothing, and ends within a minute even if the driver hangs.
options:
  gpu:
    description:
      - V(auto) uses the GPUs that work, and the CPU if the host has no NVIDIA device.
      - V(required) fails if no GPU is usable.
      - V(none) uses the CPU and checks nothing.
    type: str
    choices: [auto, required, none]
    default: auto
  min_driver:
    description:
      - Oldest acceptable driver version, for example V(580.65).
      - This and the following options apply only to hosts with an NVIDIA device. A host without one serves from its
        CPU, or fails with O(gpu=required).
    type: str
    default: ""
  toolkit_version:
    description: CUDA toolkit version that the driver must be able to run and that must support the GPUs, for example
      V(13.0).
    type: str
    default: ""
  min_free_memory:
    description:
      - MiB that must be free on each GPU listed in O(gpus), or on that many GPUs if it is a number.
      - Memory held by a llama-server on the host counts as free, so that a second run does not fail on its own server.
    type: int
    default: 0
  gpus:
    description: UUIDs of GPUs or MIG devices that must be present, as C(nvidia-smi -L) shows them, or the number of
      usable GPUs that must be present.
    type: list
    elements: str
    default: []
  compute_capability:
    description: Minimum compute capability, for example V(8.0).
    type: str
    default: ""
  runtime:
    description: Runtime of the server. The module also checks what that runtime needs to access the GPUs, and fails if
      it is missing.
    type: str
    choices: ["", auto, systemd, quadlet, docker, process, exec]
    default: ""
  user:
    description:
      - User who must be able to open the driver's device files. A user who does not exist yet is treated as a member of
        no group.
      - "Empty: with O(runtime=systemd) the user of the unit."
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
- name: Check the GPUs
  llama_fleet.core.nvidia_driver_info:
  register: gpus

- name: Require two GPUs with 40 GiB free and a driver that runs CUDA 13
  llama_fleet.core.nvidia_driver_info:
    gpu: required
    gpus: ["2"]
    min_free_memory: 40960
    toolkit_version: "13.0"
"""

RETURN = r"""
backend:
  description: Backend to build llama.cpp for, V(cuda) or V(cpu).
  returned: success
  type: str
  sample: cuda
driver:
  description: Versions of the driver's user space, of the newest CUDA it can run, and of the loaded kernel module.
    Empty without a driver.
  returned: always
  type: dict
  sample:
    version: 580.95.05
    cuda_version: "13.0"
    kernel_module_version: 580.95.05
gpus:
  description:
    - The usable GPUs, in the driver's order. If the driver does not report a value, memory is 0 and text is empty.
    - C(ecc.uncorrectable) counts errors since the driver was loaded. C(limits_reached) lists what currently slows the
      GPU down, in the driver's terms.
    - C(processes) lists programs without their arguments; it is empty in a container.
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
  description: Architectures of all GPUs as CMake names them, sorted.
  returned: always
  type: list
  elements: str
  sample: [90-real]
container:
  description:
    - Version of the NVIDIA Container Toolkit, empty if it is not installed, and the CDI specifications of GPUs with the
      driver version they were generated for.
    - Not checked if the host has no NVIDIA device.
  returned: always
  type: dict
  sample:
    toolkit_version: 1.17.8
    has_toolkit: true
    cdi:
      - {path: /etc/cdi/nvidia.yaml, driver_version: 580.95.05, devices: ["0", all], matches: true}
problems:
  description:
    - Every reason why a GPU is unusable or may become so, with a stable code, the most serious first.
    - An V(error) made the module fail, a V(warning) did not.
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

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.llama_fleet.core.plugins.module_utils import stage
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia.stage import ARGUMENTS, look


def main() -> None:
    stage.conclude(AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True), look)


if __name__ == "__main__":
    main()
