# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the module nvidia_driver_info with the variables of the current instance."""

from __future__ import annotations

import typing

from ansible_collections.llama_fleet.core.plugins.plugin_utils import overrides
from ansible_collections.llama_fleet.core.plugins.plugin_utils.host_action import HostAction


class ActionModule(HostAction):
    """An action without progress display, because the module ends within seconds."""

    def run(self, tmp: str | None = None, task_vars: dict[str, typing.Any] | None = None) -> dict[str, typing.Any]:
        self._begin(tmp, task_vars)
        arguments = overrides.merged(self._task.args, "nvidia_driver")
        return overrides.labelled(
            self._execute_module(module_args=arguments, task_vars=task_vars),
            overrides.of_turn(task_vars, self._templar.template),
        )
