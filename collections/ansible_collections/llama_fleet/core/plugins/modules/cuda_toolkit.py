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
  - Uses the newest toolkit on the host that the driver can run and that contains everything llama.cpp needs, or
    installs one from NVIDIA's wheels.
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
    description: "Version (major.minor) to install if the host has no suitable toolkit. Empty: the newest that the
      driver can run."
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

import os
import pathlib
import platform
import re
import typing

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.llama_fleet.core.plugins.module_utils.arguments import argument_spec, values
from ansible_collections.llama_fleet.core.plugins.module_utils.cuda import plan as cuda
from ansible_collections.llama_fleet.core.plugins.module_utils.cuda import trial as cuda_proof
from ansible_collections.llama_fleet.core.plugins.module_utils.cuda import wheels as cuda_wheels
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch import index as package_index
from ansible_collections.llama_fleet.core.plugins.module_utils.host import commands, files
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.progress import Progress
from ansible_collections.llama_fleet.core.plugins.module_utils.stage import PROGRESS_ARGUMENTS, conclude
from ansible_collections.llama_fleet.core.plugins.module_utils.tools import compiler as build_host
from ansible_collections.llama_fleet.core.plugins.module_utils.untrusted import Table, Text, Word

ARGUMENTS = {**argument_spec(cuda.Wanted), **PROGRESS_ARGUMENTS}


def run(module: AnsibleModule) -> dict[str, typing.Any]:
    touch = not (module.check_mode or module.params["plan_only"])
    progress = Progress(module.params["progress_file"] or "")
    changed, result = (_remove if module.params["state"] == "absent" else _provide)(module.params, progress, touch)
    if module.params["plan_only"]:
        return {"changed": False, "would_change": changed, **result}
    before = "".join(f"{path}\n" for path in result["removed"])
    return {
        "changed": changed,
        "diff": {"before": before, "after": f"{result['path']}\n" if changed and not before else ""},
        **result,
    }


def _provide(params: dict[str, typing.Any], progress: Progress, touch: bool) -> tuple[bool, dict[str, typing.Any]]:
    """Find or install; whether that changes the host, and what came of it."""
    wanted = cuda.Wanted(**values(cuda.Wanted, params))
    host = cuda.ToolkitHost(commands.run, platform.machine(), tuple(os.environ.get("PATH", "").split(os.pathsep)))
    installs_compiler = not cuda.has_compiler(host) and params["install_packages"] and build_host.can_install()
    # A plan comes before it is known whether anything has to be compiled.
    plan = cuda.make_plan(wanted, host, compiler_later=installs_compiler or params["plan_only"])
    if installs_compiler and touch:
        progress.stage(f"installing {' '.join(build_host.packages(['compiler']))}")
        build_host.install(["compiler"], commands.run)
    toolkit = plan.toolkit
    changed = bool(plan.release) or installs_compiler
    if plan.origin == "found" and cuda.has_compiler(host):
        _prove_once(toolkit, wanted, host, progress, touch)
    if plan.release:
        files.require_writable(toolkit.path, "cuda_toolkit_root")
    if plan.release and touch:
        index = package_index.index_url(params["index_url"])
        installed = cuda_wheels.install(
            plan.release,
            wanted.root,
            index,
            host.machine,
            progress,
            lambda folder: cuda_proof.accept(folder, wanted, host),
        )
        changed = installed or installs_compiler
        toolkit = cuda.Toolkit(toolkit.path, toolkit.version, cuda_wheels.manifest_of(toolkit.path)["nvcc"])
    return changed, _result(toolkit, plan.origin, [])


def _remove(params: dict[str, typing.Any], progress: Progress, touch: bool) -> tuple[bool, dict[str, typing.Any]]:
    """Remove what is ours; whether that changes the host, and what it was."""
    root, version = pathlib.Path(params["root"]), params["version"]
    if version and not re.fullmatch(r"\d+\.\d+", version):
        raise ProblemError(
            Problem(
                cuda.VERSION_VARIABLE,
                f"'{version}'",
                "major.minor, such as 13.0",
                "correct it, or leave it empty for all of them",
            )
        )
    paths = cuda_wheels.removable(root, version)
    if paths:
        files.require_writable(paths[0].parent, "cuda_toolkit_root")
    if paths and touch:
        paths = cuda_wheels.remove(root, version, progress)
    return bool(paths), _result(None, "", paths)


def _result(toolkit: cuda.Toolkit | None, origin: str, removed: list[pathlib.Path]) -> dict[str, typing.Any]:
    return {
        "path": str(toolkit.path) if toolkit else "",
        "version": toolkit.version if toolkit else "",
        "nvcc": toolkit.nvcc if toolkit else "",
        "include": str(toolkit.include) if toolkit else "",
        "library": str(toolkit.library) if toolkit else "",
        "origin": origin,
        "removed": [str(path) for path in removed],
    }


def _prove_once(
    toolkit: cuda.Toolkit, wanted: cuda.Wanted, host: cuda.ToolkitHost, progress: Progress, remember: bool
) -> None:
    """Prove a toolkit of the host again only after it or the compiler changed."""
    memory = wanted.root / "toolkits/proven.json"
    proven = files.read_json(memory, Table(Text(), keys=Word())) or {}
    key = cuda_proof.proof_key(toolkit, wanted, host)
    if proven.get(str(toolkit.path)) == key:
        return
    progress.stage(f"trying CUDA toolkit {toolkit.version}")
    cuda_proof.prove(toolkit, wanted, host)
    if remember:
        files.write_json(memory, {**proven, str(toolkit.path): key})


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    conclude(module, run)


if __name__ == "__main__":
    main()
