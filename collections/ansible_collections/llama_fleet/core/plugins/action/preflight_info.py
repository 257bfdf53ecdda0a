# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the module preflight_info with the role variables of every instance that the host is to run."""

from __future__ import annotations

import dataclasses
import typing

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.llama_fleet.core.plugins.plugin_utils import instances, role_values
from ansible_collections.llama_fleet.core.plugins.plugin_utils.host_action import HostAction

Values = dict[str, typing.Any]
TOKEN = "gguf_model_token"
# Replaces other secrets, because no check needs them.
PRESENT = "present"


class ActionModule(HostAction):
    """An action without progress display, because the module ends within seconds."""

    def run(self, tmp: str | None = None, task_vars: Values | None = None) -> Values:
        self._begin(tmp, task_vars)
        given = dict(self._task.args)
        host = self._host(dict(task_vars or {}), given.get("instances") or {})
        variables = {name: _effective(host, name) for name in host.started()}
        tokens = {name: values[TOKEN] for name, values in variables.items() if values[TOKEN]}
        shown = {name: _without_secrets(values, host.specs) for name, values in variables.items()}
        return self._execute_module(module_args={**given, "instances": shown, "tokens": tokens}, task_vars=task_vars)

    def _host(self, variables: Values, given: Values) -> instances.HostInstances:
        """Return the host with its instances, or with the ``given`` ones."""
        specs = {role: role_values.load_spec(role) for role in instances.STAGES}
        # What the play wires is known from the plans, or not at all.
        unwired = {name: value for name, value in variables.items() if name not in instances.wired()}
        host = role_values.host_of(unwired, specs, self._templar.template)
        default = str(specs["llama_server"][instances.ONE]["default"])
        names = instances.chosen(host, host.values.get(instances.ONE), default)
        return dataclasses.replace(host, entries=given or {name: host.entries.get(name) for name in names})


def _effective(host: instances.HostInstances, name: str) -> Values:
    """Return all variables of the roles for the instance ``name``, converted to the types in their specs."""
    values = {}
    for spec in host.specs.values():
        for variable, option in spec.items():
            kind = {key: option[key] for key in ("type", "elements") if key in option}
            value = host.effective(name, variable)
            values[variable] = (
                ArgumentSpecValidator({variable: kind})
                .validate({variable: value})
                .validated_parameters.get(variable, value)
            )
    return values


def _without_secrets(
    values: Values, specs: typing.Mapping[str, typing.Mapping[str, typing.Mapping[str, typing.Any]]]
) -> Values:
    secret = {name for spec in specs.values() for name, option in spec.items() if option.get("no_log")}
    hidden = {
        name: ([PRESENT] if isinstance(values[name], list) else PRESENT) if values[name] else values[name]
        for name in secret
    }
    return {**values, **hidden}
