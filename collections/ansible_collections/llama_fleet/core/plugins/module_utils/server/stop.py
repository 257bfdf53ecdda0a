# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Stop an instance, or remove it."""

from __future__ import annotations

import shutil
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.server import native_build
from ansible_collections.llama_fleet.core.plugins.module_utils.server import result as server_result
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import state_folder
from ansible_collections.llama_fleet.core.plugins.module_utils.server.switch import Switch

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.instance import Instance
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.result import Result
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.runtime import Runtime
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.state.generations import Generation


class Stop:
    """Stops one instance, and with the state absent removes it. With ``dry`` it changes nothing."""

    def __init__(self, instance: Instance, dry: bool) -> None:
        self._instance = instance
        self._options = instance.options
        self._store = instance.store
        self._dry = dry
        self._switch = Switch(instance)

    def run(self) -> Result:
        """Return the result of the run, or with ``dry`` what it would be."""
        current = self._store.current()
        runtimes = self._instance.other_runtimes("")
        absent = self._options.state == "absent"
        up = bool(self._instance.own_processes()) or any(runtime.is_up() for runtime in runtimes)
        remains = self._options.folder.exists() or bool(runtimes)
        # One that ended by an accident or by hand is told apart from one that is stopped as wanted.
        ended = not absent and self._options.folder.exists() and not self._store.stopped
        if ended and not self._dry:
            self._store.begin_stop()
        if not self._dry:
            native_build.end(self._instance)
        if up and not self._dry:
            self._stop(runtimes, current)
        if absent and remains and not self._dry:
            for runtime in [*runtimes, self._instance.runtime(current)]:
                runtime.remove()
            self._remove_state()
            self._store.remove()
        changed = up or ended or (absent and remains)
        before = "started" if up else "ended" if ended else "stopped" if remains else "absent"
        return self._result(current, changed, before)

    def _remove_state(self) -> None:
        """Remove the folders that servers of the instance have written, which only its generations tell."""
        for path in self._store.slot_paths():
            folder = state_folder.owned(path, self._options.instance)
            if folder is not None:
                shutil.rmtree(folder, ignore_errors=True)

    def _stop(self, runtimes: typing.Sequence[Runtime], current: Generation | None) -> None:
        self._switch.drain()
        self._instance.progress.stage("stopping llama-server")
        for runtime in runtimes:
            runtime.stop()
        if current:
            self._switch.await_port(current)

    def _result(self, current: Generation | None, changed: bool, before: str) -> Result:
        options, drained = self._options, self._switch.drained
        diff = [server_result.part(options.instance, f"{before}\n", f"{options.state}\n")] if changed else []
        remaining = None if options.state == "absent" else current
        return {
            **server_result.facts(options, self._instance.runtime(current), remaining, changed, diff),
            **server_result.drained(drained),
            "warnings": [drained.warning] if drained.warning else [],
        }
