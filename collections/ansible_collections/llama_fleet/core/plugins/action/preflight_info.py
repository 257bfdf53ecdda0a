# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the module preflight_info with the role variables of every instance that the host is to run."""

from __future__ import annotations

import typing

from ansible_collections.llama_fleet.core.plugins.plugin_utils import role_values
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
        host = role_values.whole_host(dict(task_vars or {}), self._templar.template, given.get("instances") or {})
        variables = {name: role_values.effective(host, name) for name in host.started()}
        tokens = {name: values[TOKEN] for name, values in variables.items() if values[TOKEN]}
        shown = {name: _without_secrets(values, host.specs) for name, values in variables.items()}
        return self._execute_module(module_args={**given, "instances": shown, "tokens": tokens}, task_vars=task_vars)


def _without_secrets(
    values: Values, specs: typing.Mapping[str, typing.Mapping[str, typing.Mapping[str, typing.Any]]]
) -> Values:
    secret = {name for spec in specs.values() for name, option in spec.items() if option.get("no_log")}
    hidden = {
        name: ([PRESENT] if isinstance(values[name], list) else PRESENT) if values[name] else values[name]
        for name in secret
    }
    return {**values, **hidden}
