# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the module llama_server and show its progress."""

from __future__ import annotations

import typing

from ansible_collections.llama_fleet.core.plugins.plugin_utils.progress_action import ProgressAction

Values = dict[str, typing.Any]


class ActionModule(ProgressAction):
    ROLE = "llama_server"

    def run(self, tmp: str | None = None, task_vars: Values | None = None) -> Values:
        return self._way.seen(super().run(tmp, task_vars))
