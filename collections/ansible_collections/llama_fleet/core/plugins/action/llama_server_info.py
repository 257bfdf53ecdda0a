# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the module llama_server_info, and return only its validated answer."""

from __future__ import annotations

import typing

from ansible_collections.llama_fleet.core.plugins.plugin_utils.host_action import HostAction

Values = dict[str, typing.Any]


class ActionModule(HostAction):
    """An action for a module that only reads."""

    def run(self, tmp: str | None = None, task_vars: Values | None = None) -> Values:
        result = super().run(tmp, task_vars)
        if result.get("failed"):
            return result
        return {**result, "instances": [self._way.seen(facts) for facts in result["instances"]]}
