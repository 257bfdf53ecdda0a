# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the module llama_gateway, by default with the servers that the inventory has."""

from __future__ import annotations

import dataclasses
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError
from ansible_collections.llama_fleet.core.plugins.plugin_utils.fleet_servers import Fleet
from ansible_collections.llama_fleet.core.plugins.plugin_utils.host_action import HostAction, host_of

Values = dict[str, typing.Any]
GROUP = "llama_gateways"


class ActionModule(HostAction):
    """An action that lists the fleet's servers, because only the controller knows the inventory."""

    def run(self, tmp: str | None = None, task_vars: Values | None = None) -> Values:
        self._begin(tmp, task_vars)
        arguments = dict(self._task.args)
        try:
            if not arguments.get("servers") and arguments.get("state") != "absent":
                arguments["servers"] = self._servers(task_vars or {})
        except ProblemError as error:
            problems = [dataclasses.asdict(problem) for problem in error.problems]
            return {"failed": True, "msg": str(error), "problems": problems}
        return self._execute_module(module_args=arguments, task_vars=task_vars)

    def _servers(self, variables: Values) -> list[Values]:
        """Return the servers of every host of the inventory that is no gateway, or that is given by name."""
        groups: dict[str, list[str]] = variables.get("groups") or {}
        given = self._templar.template(variables.get("llama_gateway_hosts") or [])
        named = [host for name in given for host in groups.get(name, [name])]
        hosts = named or [host for host in groups.get("all", []) if host not in groups.get(GROUP, [])]
        fleet = Fleet(variables.get("hostvars") or {}, host_of(variables), self._templar.template)
        return fleet.servers([host for host in dict.fromkeys(hosts) if host in fleet.variables])
