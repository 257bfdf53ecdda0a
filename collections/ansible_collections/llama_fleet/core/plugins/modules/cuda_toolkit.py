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
  - Takes the newest toolkit of the host that the driver runs and that has all llama.cpp needs, or installs one from the wheels of NVIDIA.
  - An installation goes to C(toolkits/cuda-<version>) below O(root), needs no package manager and leaves the system alone.
  - A toolkit counts only after its nvcc compiled and linked a small program on the host.
options:
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
      - Version (major.minor) to install where the host has none.
    type: str
    default: "13.0"
  driver_version:
    description:
      - "Version of the NVIDIA driver the toolkit has to run on. Empty: any."
    type: str
    default: ""
  architectures:
    description:
      - "Architectures the toolkit has to build for, as CMake has them. Empty: any."
    type: list
    elements: str
    default: []
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
"""

RETURN = r"""
path:
  description: The toolkit's folder, which has C(bin/nvcc).
  returned: success
  type: str
  sample: /opt/llama-fleet/toolkits/cuda-13.0.88
version:
  description: The version of its nvcc.
  returned: success
  type: str
  sample: 13.0.88
origin:
  description: Whether the toolkit was V(found) on the host or is V(installed) from wheels.
  returned: success
  type: str
  sample: installed
would_change:
  description: Whether a real run would install it.
  returned: with O(plan_only)
  type: bool
"""

import os
import pathlib
import platform
import typing

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.llama_fleet.core.plugins.module_utils import commands, cuda, cuda_wheels, files, package_index
from ansible_collections.llama_fleet.core.plugins.module_utils.progress import Progress
from ansible_collections.llama_fleet.core.plugins.module_utils.stage import PROGRESS_ARGUMENTS, conclude

ARGUMENTS: dict[str, dict[str, typing.Any]] = {
    "root": {"type": "path", "default": "/opt/llama-fleet"},
    "path": {"type": "path", "default": ""},
    "version": {"type": "str", "default": "13.0"},
    "driver_version": {"type": "str", "default": ""},
    "architectures": {"type": "list", "elements": "str", "default": []},
    "index_url": {"type": "str", "default": ""},
    **PROGRESS_ARGUMENTS,
}


def run(module: AnsibleModule) -> dict[str, typing.Any]:
    params = module.params
    root = pathlib.Path(params["root"])
    wanted = cuda.Wanted(root, params["path"], params["version"], params["driver_version"], tuple(params["architectures"]))
    host = cuda.Host(commands.run, platform.machine(), tuple(os.environ.get("PATH", "").split(os.pathsep)))
    progress = Progress(params["progress_file"] or "")
    plan = cuda.make_plan(wanted, host)
    if plan.release:
        files.require_writable(plan.toolkit.path, "cuda_toolkit_root")
    touch = not (module.check_mode or params["plan_only"])
    changed = bool(plan.release)
    if plan.origin == "found":
        _prove_once(plan.toolkit, wanted, host, progress, touch)
    elif plan.release and touch:
        changed = cuda_wheels.install(
            plan.release,
            plan.toolkit.path,
            package_index.index_url(params["index_url"]),
            host.machine,
            progress,
            lambda folder: cuda.prove(cuda.Toolkit(folder, plan.toolkit.version), wanted, host),
        )
    result = {"path": str(plan.toolkit.path), "version": plan.toolkit.version, "origin": plan.origin}
    if params["plan_only"]:
        return {"changed": False, "would_change": changed, **result}
    return {"changed": changed, "diff": {"before": "", "after": f"{plan.toolkit.path}\n" if changed else ""}, **result}


def _prove_once(toolkit: cuda.Toolkit, wanted: cuda.Wanted, host: cuda.Host, progress: Progress, remember: bool) -> None:
    """Prove a toolkit of the host again only after it or the compiler changed."""
    memory = wanted.root / "toolkits/proven.json"
    proven = files.read_json(memory) or {}
    key = cuda.proof_key(toolkit, wanted, host)
    if proven.get(str(toolkit.path)) == key:
        return
    progress.stage(f"trying CUDA toolkit {toolkit.version}")
    cuda.prove(toolkit, wanted, host)
    if remember:
        files.write_json(memory, {**proven, str(toolkit.path): key})


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    conclude(module, run)


if __name__ == "__main__":
    main()
