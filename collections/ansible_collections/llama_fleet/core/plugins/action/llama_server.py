# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the module llama_server and show its progress."""

from __future__ import annotations

from ansible_collections.llama_fleet.core.plugins.plugin_utils.progress_action import ProgressAction


class ActionModule(ProgressAction):
    ROLE = "llama_server"
