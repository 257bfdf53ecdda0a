# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the module llama_cpp_native with the arguments of every stage of the current instance, without secrets."""

from __future__ import annotations

import typing

from ansible_collections.llama_fleet.core.plugins.action import plan_info
from ansible_collections.llama_fleet.core.plugins.plugin_utils import overrides, role_values

Values = dict[str, typing.Any]
# The play's variables with the plan of each instance and with the result of the release.
_PLANS, _RELEASE = "llama_fleet_plans", "llama_cpp_result"


class ActionModule(plan_info.ActionModule):
    """A HostAction with the arguments of a plan; the build keeps its own copy of them on the host."""

    def _plan(self, variables: Values, task_vars: Values | None) -> Values:
        host = role_values.whole_host(variables, self._templar.template, {})
        name = str(self._templar.template(variables[overrides.INSTANCE]))
        plan = self._templar.template(variables[_PLANS])[name]
        beside = self._templar.template(variables[_RELEASE])["beside"]
        shown = self._shown(self._arguments(host, name, variables), host.specs)
        before = {role: plan.get(role) or {} for role in ("nvidia_driver", "cuda_toolkit")}
        return self._execute_module(module_args={**beside, "arguments": {**shown, "plan": before}}, task_vars=task_vars)
