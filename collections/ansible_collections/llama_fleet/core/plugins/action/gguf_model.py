# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the module gguf_model and show its progress."""

from __future__ import annotations

import json
import typing

from ansible_collections.llama_fleet.core.plugins.plugin_utils import host_results
from ansible_collections.llama_fleet.core.plugins.plugin_utils.progress_action import ProgressAction

Values = dict[str, typing.Any]
# The play's variable with the plan of the model that this run has made.
PLAN = "llama_fleet_model_plan"


class ActionModule(ProgressAction):
    ROLE = "gguf_model"

    def _arguments(self, task_vars: Values) -> Values:
        arguments = super()._arguments(task_vars)
        if PLAN not in task_vars:
            return arguments
        # It comes from the host, so it passes the door for the host's results once more.
        plan = host_results.admit("gguf_model", self._templar.template(task_vars[PLAN]) or {}, "")
        return {**arguments, "known": known_files(plan)}


def known_files(plan: Values) -> str:
    """Return the files of a planned model as JSON; empty if the module has to ask again.

    Only those of a repository are known before they are fetched, and only a model alone is handed on.
    """
    folder = str((plan.get("plan") or {}).get("folder", ""))
    files = plan.get("files") or []
    alone = not (plan.get("failed") or plan.get("lora") or plan.get("draft") or plan.get("memory"))
    if not (alone and folder and files and len(str(plan.get("revision", ""))) == 40):
        return ""
    if not all(file["path"].startswith(f"{folder}/") and len(file["sha256"]) == 64 for file in files):
        return ""
    names = [{**file, "name": file["path"][len(folder) + 1 :]} for file in files]
    return json.dumps(
        {
            "revision": plan["revision"],
            "quant": plan.get("quant", ""),
            "mmproj": bool(plan.get("mmproj")),
            "files": [{name: file[name] for name in ("name", "size", "sha256")} for file in names],
        }
    )
