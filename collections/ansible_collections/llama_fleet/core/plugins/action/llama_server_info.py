# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the module llama_server_info, and return its validated answer with the newest versions of llama.cpp."""

from __future__ import annotations

import typing

from ansible.module_utils.parsing.convert_bool import boolean

from ansible_collections.llama_fleet.core.plugins.module_utils.server.status import table
from ansible_collections.llama_fleet.core.plugins.plugin_utils import newest_versions
from ansible_collections.llama_fleet.core.plugins.plugin_utils.host_action import HostAction

Values = dict[str, typing.Any]


class ActionModule(HostAction):
    """An action for a module that only reads."""

    def run(self, tmp: str | None = None, task_vars: Values | None = None) -> Values:
        result = super().run(tmp, task_vars)
        if result.get("failed"):
            return result
        comparable = newest_versions.are_comparable(result["instances"])
        newest = self._newest(task_vars or {}) if comparable else newest_versions.Newest()
        shown = [{**self._way.seen(facts), "newest": newest.beside(facts)} for facts in result["instances"]]
        return {**result, "instances": shown, "table": table.lines(shown)}

    def _newest(self, variables: Values) -> newest_versions.Newest:
        if not boolean(self._task.args.get("newest", False), strict=False):
            return newest_versions.Newest()
        places = (variables.get(f"llama_cpp_upstream_{name}", "") for name in ("api", "url"))
        return newest_versions.ask(*(str(self._templar.template(place)) for place in places))
