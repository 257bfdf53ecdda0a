# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Provide the base of every action that runs a module on a host: it returns only validated host results."""

from __future__ import annotations

import typing

from ansible.plugins.action import ActionBase

from ansible_collections.llama_fleet.core.plugins.plugin_utils import host_results
from ansible_collections.llama_fleet.core.plugins.plugin_utils.endpoints import Way

Values = dict[str, typing.Any]


class HostAction(ActionBase):  # type: ignore[misc]  # because ansible-core declares no types for its plugins
    """An action that runs the module of its own name."""

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: Values | None = None) -> Values:
        self._begin(tmp, task_vars)
        return self._execute_module(task_vars=task_vars)

    def _begin(self, tmp: str | None, task_vars: Values | None) -> None:
        """Run the start of every Ansible action; its result is empty."""
        ActionBase.run(self, tmp, task_vars)

    @property
    def _module(self) -> str:
        return str(self._task.action).rpartition(".")[2]

    @property
    def _way(self) -> Way:
        """Return the way to the current host."""
        return Way(str(self._connection.transport), str(self._play_context.remote_addr or ""))

    def _execute_module(
        self, *arguments: typing.Any, task_vars: Values | None = None, wrap_async: bool = False, **more: typing.Any
    ) -> Values:
        answer = super()._execute_module(*arguments, task_vars=task_vars, wrap_async=wrap_async, **more)
        return host_results.admit_job(answer, host_of(task_vars)) if wrap_async else self._admitted(answer, task_vars)

    def _admitted(self, answer: typing.Mapping[str, typing.Any], task_vars: Values | None) -> Values:
        """Return the validated ``answer`` of the module, with the Python interpreter that Ansible has discovered.

        That is the only fact that Ansible itself adds.
        """
        facts = (
            {self._discovered_interpreter_key: self._discovered_interpreter} if self._discovered_interpreter_key else {}
        )
        admitted = host_results.admit(self._module, answer, host_of(task_vars))
        return {**admitted, "ansible_facts": facts} if facts else admitted


def host_of(task_vars: Values | None) -> str:
    """Return the inventory name of the current host."""
    return str((task_vars or {}).get("inventory_hostname", "localhost"))
