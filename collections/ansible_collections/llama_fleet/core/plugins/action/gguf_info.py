# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the module of the same name, and hands on what its host answers as far as it is an answer of it."""

from __future__ import annotations

from ansible_collections.llama_fleet.core.plugins.plugin_utils.host_action import HostAction


class ActionModule(HostAction):
    """A module that only looks."""
