# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import dataclasses

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.llama_fleet.core.plugins.module_utils import payload
from ansible_collections.llama_fleet.core.plugins.module_utils.preflight import checks as preflight
from ansible_collections.llama_fleet.core.plugins.module_utils.preflight.check import errors, not_ok
from ansible_collections.llama_fleet.core.plugins.module_utils.preflight.server import releases


def run(module: AnsibleModule) -> None:
    payload.forget(str(getattr(module, "_remote_tmp", "") or ""))
    given = module.params
    checks = preflight.checks(
        given["instances"],
        given["plans"],
        given["tokens"],
        preflight.PreflightHost(limit=given["timeout"]),
        untold=given["stop"],
    )
    not_passed = not_ok(checks)
    result = {
        "changed": False,
        "checks": [dataclasses.asdict(check) for check in checks],
        "problems": [dataclasses.asdict(check) for check in not_passed],
        "errors": errors(checks),
        "releases": releases(given["instances"]) if given["upstream"] else {},
    }
    if given["stop"]:
        failures = [str(plans["failed"]["msg"]) for plans in given["plans"].values() if "failed" in plans]
        if sentences := [*failures, *errors(checks)]:
            module.fail_json(msg="\n".join(sentences), **result)
        for check in not_passed:
            module.warn(str(check.problem))
    module.exit_json(**result)


def main() -> None:
    run(
        AnsibleModule(
            argument_spec={
                "instances": {"type": "dict", "default": {}},
                "plans": {"type": "dict", "default": {}},
                "tokens": {"type": "dict", "default": {}, "no_log": True},
                "timeout": {"type": "int", "default": 10},
                "stop": {"type": "bool", "default": False},
                "upstream": {"type": "bool", "default": False},
            },
            supports_check_mode=True,
        )
    )


if __name__ == "__main__":
    main()
