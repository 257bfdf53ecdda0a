# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Run one instance from options to a result: started, rolled back, stopped or absent."""

from __future__ import annotations

import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.host import files
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError, raise_if_any
from ansible_collections.llama_fleet.core.plugins.module_utils.server import beside, host_checks
from ansible_collections.llama_fleet.core.plugins.module_utils.server import room as server_room
from ansible_collections.llama_fleet.core.plugins.module_utils.server.plan import Planner
from ansible_collections.llama_fleet.core.plugins.module_utils.server.rollback import Rollback
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.registry import RUNTIMES
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import options as server_options
from ansible_collections.llama_fleet.core.plugins.module_utils.server.start import Start
from ansible_collections.llama_fleet.core.plugins.module_utils.server.stop import Stop

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.instance import Instance
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.result import Result

# The variables that count whatever is to become of an instance.
_OF_EVERY_STATE = (
    "instance",
    "root",
    "runtime_root",
    "state_root",
    "to_generation",
    "ready_timeout",
    "drain_timeout",
    "stop_timeout",
)
_STARTED, _ROLLED_BACK = "started", "rolled_back"
_ACTIONS: dict[str, type[Start | Rollback | Stop]] = {_STARTED: Start, _ROLLED_BACK: Rollback}


class Stage:
    """One run over one instance. With ``dry`` it only says what it would do."""

    def __init__(self, instance: Instance, dry: bool) -> None:
        self.instance = instance
        self.dry = dry

    def run(self) -> Result:
        """Do what the options want, and return what became of it; raise ProblemError with every problem at once."""
        options = self.instance.options
        started = options.state == _STARTED
        # A typo in an option of a server must not keep anyone from stopping it, or from going back.
        names = {f"llama_server_{name}" for name in _OF_EVERY_STATE}
        raise_if_any(
            problem for problem in server_options.option_problems(options) if not started and problem.subject in names
        )
        action = _ACTIONS.get(options.state, Stop)(self.instance, self.dry)
        if self.dry:
            return action.run()
        unwritable = host_checks.unwritable_folder(self.instance)
        if unwritable and started:
            # The plan finds every other problem as well.
            Planner(self.instance, dry=False).plan()
        raise_if_any(unwritable)
        try:
            return self._locked(action)
        except OSError as error:
            raise ProblemError(server_room.unwritten(error, options.folder)) from error

    def _locked(self, action: Start | Rollback | Stop) -> Result:
        options, store = self.instance.options, self.instance.store
        with files.locked(options.folder.with_name(f".{options.instance}.lock")):
            self._sweep()
            if options.state != _ROLLED_BACK:
                store.end_rollback()
            return action.run()

    def _sweep(self) -> None:
        """Remove what a killed run has left half written."""
        beside.sweep(self.instance)
        self.instance.store.sweep()
        for kind in RUNTIMES.values():
            for path in kind.at(self.instance.place).files():
                for leftover in path.parent.glob(f".{path.name}.*.new"):
                    leftover.unlink()
