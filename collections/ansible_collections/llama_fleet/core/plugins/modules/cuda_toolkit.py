# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# ruff: noqa: E402 - Ansible wants the documentation before the imports.
"""A CUDA toolkit that the host's driver can run."""

from __future__ import annotations

DOCUMENTATION = r"""
module: cuda_toolkit
short_description: A CUDA toolkit that the host's driver can run
version_added: 0.1.0
description:
  - Takes the newest toolkit of the host that the driver runs and that has all llama.cpp needs, or installs one from the
    wheels of NVIDIA.
  - An installation goes to C(toolkits/cuda-<version>) below O(root), needs no package manager and leaves the system
    alone.
  - A toolkit counts only after its nvcc compiled and linked a small program on the host.
  - Releases of llama.cpp carry the libraries that they need, so that none of them stops when a toolkit is removed.
options:
  state:
    description:
      - V(present) provides a toolkit.
      - V(absent) removes the toolkits that were installed below O(root), those of O(version) only where it is named,
        and what killed runs left of them.
        Toolkits of the system always stay.
    type: str
    choices: [present, absent]
    default: present
  root:
    description:
      - Folder below which C(toolkits/cuda-<version>) is made.
    type: path
    default: /opt/llama-fleet
  path:
    description:
      - "A toolkit to take as it is. Empty: look for one, else install one."
    type: path
    default: ""
  version:
    description:
      - "Version (major.minor) to install where the host has none. Empty: the newest that the driver runs."
    type: str
    default: ""
  driver_version:
    description:
      - "Version of the NVIDIA driver the toolkit has to run on. Empty: any."
    type: str
    default: ""
  architectures:
    description:
      - "Architectures the toolkit has to build for, as CMake has them. Empty: any."
      - What does not end in C(-real) holds PTX, which needs a driver as new as the toolkit.
    type: list
    elements: str
    default: []
  install_packages:
    description:
      - Install a missing C++ compiler with apt, as root. nvcc compiles nothing without one.
    type: bool
    default: true
  index_url:
    description:
      - "Package index to install from. Empty: what pip is configured to use."
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

- name: Take one that is there
  llama_fleet.core.cuda_toolkit:
    path: /usr/local/cuda-12.8

- name: Remove what was installed
  llama_fleet.core.cuda_toolkit:
    state: absent
"""

RETURN = r"""
path:
  description: The toolkit's folder, which has C(bin/nvcc). Empty with O(state=absent), as all that follow.
  returned: success
  type: str
  sample: /opt/llama-fleet/toolkits/cuda-13.5.37
version:
  description: The version of its nvcc.
  returned: success
  type: str
  sample: 13.5.37
nvcc:
  description: The line in which C(nvcc --version) says it. Empty as long as the toolkit is not installed.
  returned: success
  type: str
  sample: Cuda compilation tools, release 13.5, V13.5.37
include:
  description: Folder of its headers.
  returned: success
  type: str
  sample: /opt/llama-fleet/toolkits/cuda-13.5.37/include
library:
  description: Folder of its libraries.
  returned: success
  type: str
  sample: /opt/llama-fleet/toolkits/cuda-13.5.37/lib64
origin:
  description: Whether the toolkit was V(found) on the host or is V(installed) from wheels.
  returned: success
  type: str
  sample: installed
removed:
  description: Paths that were removed.
  returned: success
  type: list
  elements: str
would_change:
  description: Whether a real run would change anything.
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
    host = cuda.Host(commands.run, platform.machine(), tuple(os.environ.get("PATH", "").split(os.pathsep)))
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
    toolkit: cuda.Toolkit, wanted: cuda.Wanted, host: cuda.Host, progress: Progress, remember: bool
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
