# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# ruff: noqa: E402 - Ansible wants the documentation before the imports.
from __future__ import annotations

DOCUMENTATION = r"""
module: cuda_toolkit
short_description: Provide a CUDA toolkit that the host's driver can run
version_added: 0.1.0
description:
  - Uses the newest toolkit on the host that the driver can run, that contains everything llama.cpp needs, and that
    works with the host's compiler and C library, or installs one from NVIDIA's wheels.
  - An installed toolkit goes to C(toolkits/cuda-<version>) below O(root). It needs no package manager and does not
    touch the system's packages.
  - A toolkit is accepted only after its nvcc has compiled and linked a small program on the host.
  - Releases of llama.cpp contain the libraries they need, so removing a toolkit stops no server.
options:
  state:
    description:
      - V(present) provides a toolkit.
      - V(absent) removes the toolkits installed below O(root), or only those of O(version), and the remains of
        interrupted runs. The system's own toolkits are never removed.
    type: str
    choices: [present, absent]
    default: present
  root:
    description: Folder in which C(toolkits/cuda-<version>) is created.
    type: path
    default: /opt/llama-fleet
  path:
    description: "Folder of an existing toolkit to use. Empty: search for one, and install one if there is none."
    type: path
    default: ""
  version:
    description: "Version (major.minor) of the toolkit: one of that version on the host, or else wheels of it. Empty:
      the newest on the host, or else the newest wheels that the driver can run."
    type: str
    default: ""
  driver_version:
    description: "Version of the NVIDIA driver that must be able to run the toolkit. Empty: any. The play sets it from
      the result of M(llama_fleet.core.nvidia_driver_info)."
    type: str
    default: ""
  architectures:
    description:
      - "GPU architectures that the toolkit must support, as CMake names them. Empty: any. The play sets them from the
        result of M(llama_fleet.core.nvidia_driver_info)."
      - A name that does not end in C(-real) includes PTX, which requires a driver as new as the toolkit.
    type: list
    elements: str
    default: []
  install_packages:
    description: Install a missing C++ compiler with apt, as root. nvcc needs one to compile anything.
    type: bool
    default: true
  index_url:
    description: "URL of the package index to install from. Empty: the index that pip is configured to use."
    type: str
    default: ""
author:
  - The llama-fleet authors (@llama-fleet)
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
extends_documentation_fragment:
  - llama_fleet.core.stage
  - llama_fleet.core.stage.attributes
"""

EXAMPLES = r"""
- name: Provide a toolkit for the GPUs of a host
  llama_fleet.core.cuda_toolkit:
    driver_version: 580.95.05
    architectures: [90-real]
  register: toolkit

- name: Use an existing toolkit
  llama_fleet.core.cuda_toolkit:
    path: /usr/local/cuda-12.8

- name: Remove the installed toolkits
  llama_fleet.core.cuda_toolkit:
    state: absent
"""

RETURN = r"""
path:
  description: Folder of the toolkit, which contains C(bin/nvcc). This and the following values are empty with
    O(state=absent).
  returned: success
  type: str
  sample: /opt/llama-fleet/toolkits/cuda-13.5.37
version:
  description: Version of the toolkit's nvcc.
  returned: success
  type: str
  sample: 13.5.37
nvcc:
  description: Version line that C(nvcc --version) prints. Empty until the toolkit is installed.
  returned: success
  type: str
  sample: Cuda compilation tools, release 13.5, V13.5.37
include:
  description: Folder of the headers.
  returned: success
  type: str
  sample: /opt/llama-fleet/toolkits/cuda-13.5.37/include
library:
  description: Folder of the libraries.
  returned: success
  type: str
  sample: /opt/llama-fleet/toolkits/cuda-13.5.37/lib64
origin:
  description: V(found) if the toolkit was already on the host, V(installed) if it came from wheels.
  returned: success
  type: str
  sample: installed
removed:
  description: Paths that were removed.
  returned: success
  type: list
  elements: str
would_change:
  description: Whether a run without O(plan_only) would change anything.
  returned: with O(plan_only)
  type: bool
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.llama_fleet.core.plugins.module_utils.cuda.stage import ARGUMENTS, run
from ansible_collections.llama_fleet.core.plugins.module_utils.stage import conclude


def main() -> None:
    conclude(AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True), run)


if __name__ == "__main__":
    main()
