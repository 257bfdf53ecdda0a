# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

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
