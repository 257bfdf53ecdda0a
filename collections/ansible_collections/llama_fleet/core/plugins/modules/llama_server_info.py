# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
import pathlib
import typing

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, raise_if_any
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.host import this_host
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.instance_name import is_instance_name
from ansible_collections.llama_fleet.core.plugins.module_utils.server.status import verdict
from ansible_collections.llama_fleet.core.plugins.module_utils.server.status.info import Inspector
from ansible_collections.llama_fleet.core.plugins.module_utils.stage import conclude


def stage(module: AnsibleModule) -> dict[str, typing.Any]:
    given = module.params
    problems = [
        Problem(name, f"'{given[name]}'", "an absolute path")
        for name in ("root", "runtime_root")
        if not os.path.isabs(given[name])
    ]
    asked = [given["instance"]] if given["instance"] else []
    problems += [
        Problem("instance", repr(name), "the name of an instance")
        for name in [*asked, *given["expected"]]
        if not is_instance_name(name)
    ]
    raise_if_any(problems)
    inspector = Inspector(
        pathlib.Path(given["root"]), pathlib.Path(given["runtime_root"]), this_host(), given["metrics"]
    )
    names = asked or sorted({*inspector.names(), *given["expected"]})
    instances = [inspector.inspect(name) for name in names]
    return {"changed": False, "instances": instances, "errors": verdict.errors(instances)}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "instance": {"type": "str", "default": ""},
            "expected": {"type": "list", "elements": "str", "default": []},
            "root": {"type": "path", "default": "/etc/llama-fleet"},
            "runtime_root": {"type": "path", "default": "/run/llama-fleet"},
            "metrics": {"type": "bool", "default": True},
            "newest": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    conclude(module, stage)


if __name__ == "__main__":
    main()
