# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the module llama_gateway_traffic."""

from __future__ import annotations

from ansible_collections.llama_fleet.core.plugins.plugin_utils.host_action import HostAction


class ActionModule(HostAction):
    """An action that validates the host's answer."""
