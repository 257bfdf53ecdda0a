# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Shows the progress of the module of the same name, and lets the hosts of a play share what one of them has built."""

from __future__ import annotations

import json
import os
import pathlib
import typing
import uuid

from ansible.errors import AnsibleError
from ansible.utils.display import Display

from ansible_collections.llama_fleet.core.plugins.module_utils import release_index
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp_request import ARGUMENTS, OFFERED
from ansible_collections.llama_fleet.core.plugins.plugin_utils.controller_cache import ControllerCache
from ansible_collections.llama_fleet.core.plugins.plugin_utils.progress_action import ProgressAction

display = Display()
Arguments = dict[str, typing.Any]


class ActionModule(ProgressAction):
    """The first host of a fingerprint builds; its release goes to the controller, and from there to the other hosts."""

    ROLE = "llama_cpp"

    def _arguments(self) -> Arguments:
        arguments = super()._arguments()
        cache = self._cache(arguments)
        return {**arguments, "offered": _offer(cache)} if cache else arguments

    def _cache(self, arguments: Arguments) -> ControllerCache | None:
        place = arguments.get("controller_cache", ARGUMENTS["controller_cache"]["default"])
        # The controller itself has nobody to share with.
        return ControllerCache(pathlib.Path(place).expanduser()) if place and self._connection.transport != "local" else None

    def _run_in_background(self, arguments: Arguments, task_vars: Arguments) -> Arguments:
        cache = self._cache(arguments)
        offered = arguments.pop("offered", "")
        if cache is None or arguments.get("method") == "source":
            return super()._run_in_background(arguments, task_vars)
        plan = self._plan(arguments, offered, task_vars)
        if plan.get("would_compile") and not plan["fingerprint_parts"]:  # without git nobody knows what would be built
            plan = self._plan({**arguments, "install_git": True}, offered, task_vars)
        if plan.get("would_compile") and plan["fingerprint_parts"]:
            with cache.turn(plan["fingerprint_parts"], lambda: self._say(task_vars, "waiting for another host that builds the same release")):
                now = _offer(cache)
                if now != offered:  # since then another host has built it
                    plan = self._plan(arguments, now, task_vars)
                if plan.get("would_compile"):
                    return self._build(arguments, cache, task_vars)
        if plan.get("taken_from") == OFFERED:
            return self._bring(arguments, cache, plan["takes"], task_vars)
        return plan if plan.get("failed") else super()._run_in_background(arguments, task_vars)

    def _plan(self, arguments: Arguments, offered: str, task_vars: Arguments) -> Arguments:
        return dict(self._execute_module(module_args={**arguments, "offered": offered, "plan_only": True}, task_vars=task_vars))

    def _build(self, arguments: Arguments, cache: ControllerCache, task_vars: Arguments) -> Arguments:
        """Build, and keep the release on the controller; where that fails the build is as good."""
        built = super()._run_in_background(arguments, task_vars)
        if not built.get("failed"):
            try:
                self._collect(arguments, cache, task_vars)
            except (AnsibleError, OSError, ValueError) as error:
                display.warning(f"The release of {task_vars.get('inventory_hostname')} is not shared with other hosts: {error}")
        return built

    def _collect(self, arguments: Arguments, cache: ControllerCache, task_vars: Arguments) -> None:
        folder = f"/tmp/llama-fleet-{uuid.uuid4().hex}"  # a name nobody can have prepared
        try:
            packed = super()._run_in_background({**arguments, "state": "packed", "pack_to": folder}, task_vars)
            if packed.get("failed"):
                raise AnsibleError(packed.get("msg", "it cannot be packed"))
            archive = packed["packed"]["path"]
            signature = [f"{archive}.sig"] if packed["packed"]["signed"] else []
            self._say(task_vars, f"fetching {os.path.basename(archive)} to the controller, {packed['packed']['size'] / 1e6:.0f} MB")
            with cache.adding() as local:
                for path in (archive, f"{folder}/{release_index.INDEX}", *signature):
                    self._connection.fetch_file(path, str(local / os.path.basename(path)))
        finally:
            self._low_level_execute_command(f"rm -rf {folder}")

    def _bring(self, arguments: Arguments, cache: ControllerCache, name: str, task_vars: Arguments) -> Arguments:
        """Send the packed release ``name`` to the host and have it taken from there."""
        entry = cache.entries()[name]
        self._say(task_vars, f"sending {entry.file}, {entry.size / 1e6:.0f} MB")
        folder = self._make_tmp_path()
        try:
            sent = [self._transfer_file(str(path), self._connection._shell.join_path(folder, path.name)) for path in cache.files(entry)]
            index = self._connection._shell.join_path(folder, release_index.INDEX)
            sent.append(self._transfer_data(index, json.dumps(release_index.render([entry]))))
            self._fixup_perms2((folder, *sent), execute=False)
            return super()._run_in_background({**arguments, "cache": [folder.rstrip("/"), *arguments.get("cache", [])]}, task_vars)
        finally:
            self._remove_tmp_path(folder)

    def _say(self, task_vars: Arguments, what: str) -> None:
        display.display(f"[{self._shown_host(task_vars)}] {what}")


def _offer(cache: ControllerCache) -> str:
    return json.dumps(release_index.render(cache.entries().values()))
