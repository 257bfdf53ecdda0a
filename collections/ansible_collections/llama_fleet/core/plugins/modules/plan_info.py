# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import typing

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.llama_fleet.core.plugins.module_utils.planning import plan
from ansible_collections.llama_fleet.core.plugins.module_utils.stage import conclude


def plan_all(module: AnsibleModule) -> dict[str, typing.Any]:
    plans: dict[str, plan.Result] = {}
    releases: plan.Releases = {}
    for name, given in module.params["instances"].items():
        hidden = module.params["secrets"].get(name, {})
        arguments = {role: {**values, **hidden.get(role, {})} for role, values in given.items()}
        plans[name] = plan.plan_instance(arguments, module.check_mode, module.warn, module.params["stages"], releases)
    return {"changed": False, "plans": plans, "has_several": len(plans) > 1}


def main() -> None:
    conclude(
        AnsibleModule(
            argument_spec={
                "instances": {"type": "dict", "default": {}},
                "secrets": {"type": "dict", "default": {}, "no_log": True},
                "stages": {"type": "list", "elements": "str", "choices": list(plan.STEPS), "default": list(plan.STEPS)},
            },
            supports_check_mode=True,
        ),
        plan_all,
    )


if __name__ == "__main__":
    main()
