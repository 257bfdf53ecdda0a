# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The base of every action that runs a module on a host: it hands on nothing that has not passed the door for host
results.
"""

from __future__ import annotations

import typing

from ansible.plugins.action import ActionBase

from ansible_collections.llama_fleet.core.plugins.plugin_utils import host_results

Values = dict[str, typing.Any]


class HostAction(ActionBase):  # type: ignore[misc]  # because ansible-core declares no types for its plugins
    """Runs the module of the action's own name."""

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: Values | None = None) -> Values:
        self._begin(tmp, task_vars)
        return self._execute_module(task_vars=task_vars)

    def _begin(self, tmp: str | None, task_vars: Values | None) -> None:
        """Do what every action of Ansible begins with; there is nothing in what it returns."""
        ActionBase.run(self, tmp, task_vars)

    @property
    def _module(self) -> str:
        return str(self._task.action).rpartition(".")[2]

    def _execute_module(
        self, *arguments: typing.Any, task_vars: Values | None = None, wrap_async: bool = False, **more: typing.Any
    ) -> Values:
        answer = super()._execute_module(*arguments, task_vars=task_vars, wrap_async=wrap_async, **more)
        return host_results.admit_job(answer, host_of(task_vars)) if wrap_async else self._admitted(answer, task_vars)

    def _admitted(self, answer: typing.Mapping[str, typing.Any], task_vars: Values | None) -> Values:
        """Return what may be used of the module's ``answer``, with the only fact that is Ansible's own: which
        Python it has found for the next task.
        """
        found = (
            {self._discovered_interpreter_key: self._discovered_interpreter} if self._discovered_interpreter_key else {}
        )
        admitted = host_results.admit(self._module, answer, host_of(task_vars))
        return {**admitted, "ansible_facts": found} if found else admitted


def host_of(task_vars: Values | None) -> str:
    """Return the inventory's name of the host whose turn it is."""
    return str((task_vars or {}).get("inventory_hostname", "localhost"))
