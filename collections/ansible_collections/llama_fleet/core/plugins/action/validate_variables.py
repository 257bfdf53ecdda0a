# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check the variables of several roles at once, on the controller, before anything runs on a host."""

from __future__ import annotations

import dataclasses
import typing

from ansible.plugins.action import ActionBase

from ansible_collections.llama_fleet.core.plugins.plugin_utils import instances, role_variables
from ansible_collections.llama_fleet.core.plugins.plugin_utils.role_values import host_of, load_spec, values_of

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem

ARGUMENTS = {
    "roles": {"type": "list", "elements": "str", "default": []},
    "one_instance": {"type": "bool", "default": False},
}


class ActionModule(ActionBase):  # type: ignore[misc]  # because ansible-core declares no types for its plugins
    """An action that fails with all unknown variables and wrong values, or returns the selected instances."""

    _supports_check_mode = True
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, typing.Any] | None = None) -> dict[str, typing.Any]:
        result: dict[str, typing.Any] = super().run(tmp, task_vars)
        variables = task_vars or {}
        _validation, arguments = self.validate_argument_spec(argument_spec=ARGUMENTS)
        specs = {role: load_spec(role) for role in {*instances.STAGES, *arguments["roles"]}}
        problems: list[Problem] = []
        for role in arguments["roles"]:
            problems += role_variables.unknown(role, variables, specs[role])
            problems += role_variables.wrong(values_of(variables, specs[role], self._templar.template), specs[role])
        host = host_of(variables, specs, self._templar.template)
        if instances.VARIABLE in variables and instances.VARIABLE not in host.values:
            problems.append(instances.UNKNOWN_YET)
        default = str(host.specs["llama_server"][instances.ONE]["default"])
        given = host.values.get(instances.ONE)
        problems += instances.instance_problems(host, given, default)
        chosen = instances.chosen(host, given, default)
        problems += instances.ambiguous(chosen) if arguments["one_instance"] and not problems else []
        fleet, batch = variables.get("ansible_play_hosts_all", []), variables.get("ansible_play_batch", [])
        result |= {"fleet": fleet} if len(batch) < len(fleet) else {}
        if problems:
            details = [dataclasses.asdict(problem) for problem in problems]
            message = "\n".join(str(problem) for problem in problems)
            return {**result, "failed": True, "msg": message, "problems": details}
        return {**result, "changed": False, "instances": chosen}
