# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the module preflight_info with the role variables of every instance that the host is to run.

The controller asks llama.cpp's release API, and adds its own checks.
"""

from __future__ import annotations

import dataclasses
import typing

from ansible.module_utils.parsing.convert_bool import boolean

from ansible_collections.llama_fleet.core.plugins.module_utils.preflight.check import (
    Check,
    errors,
    not_ok,
    table,
    together,
)
from ansible_collections.llama_fleet.core.plugins.plugin_utils import newest_versions, role_values
from ansible_collections.llama_fleet.core.plugins.plugin_utils.host_action import HostAction
from ansible_collections.llama_fleet.core.plugins.plugin_utils.upstream_checks import (
    source_of,
    versions_of,
    with_binaries,
)

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
        asks, checks = boolean(given.get("upstream", False), strict=False), dict[str, list[Check]]()
        if asks:
            folder = str((task_vars or {}).get("inventory_dir") or "")
            for name, values in shown.items():
                shown[name], checks[name] = with_binaries(values, folder)
        arguments = {**given, "instances": shown, "tokens": tokens}
        result = self._execute_module(module_args=arguments, task_vars=task_vars)
        if result.get("failed"):
            return result
        whole = _with_versions(result, shown, checks) if asks else result
        return {**whole, "table": table(Check(**check) for check in whole["checks"])}


def _with_versions(result: Values, instances: dict[str, Values], checks: dict[str, list[Check]]) -> Values:
    """Return the module's result with the ``checks`` of the controller, and those of what the instances run."""
    releases = result.get("releases") or {}
    added = [*together(checks)]
    versions: dict[str, list[Check]] = {}
    for places, names in _by_place(instances).items():
        known = [{"source": source_of(instances[name])} for name in names] + [
            releases.get(name) or {} for name in names
        ]
        newest = newest_versions.ask(*places) if newest_versions.are_comparable(known) else newest_versions.Newest()
        versions.update(versions_of(names, releases, newest))
    added += together(versions)
    everything = [*(Check(**check) for check in result["checks"]), *added]
    return {
        **result,
        "checks": [dataclasses.asdict(check) for check in everything],
        "problems": [dataclasses.asdict(check) for check in not_ok(everything)],
        "errors": errors(everything),
    }


def _by_place(instances: dict[str, Values]) -> dict[tuple[str, str], list[str]]:
    """Return the names of the instances by their release API and the address of its downloads."""
    groups: dict[tuple[str, str], list[str]] = {}
    for name, values in instances.items():
        groups.setdefault((values["llama_cpp_upstream_api"], values["llama_cpp_upstream_url"]), []).append(name)
    return groups


def _without_secrets(
    values: Values, specs: typing.Mapping[str, typing.Mapping[str, typing.Mapping[str, typing.Any]]]
) -> Values:
    secret = {name for spec in specs.values() for name, option in spec.items() if option.get("no_log")}
    hidden = {
        name: ([PRESENT] if isinstance(values[name], list) else PRESENT) if values[name] else values[name]
        for name in secret
    }
    return {**values, **hidden}
