# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Let a native release challenge the published one with which an instance runs, and switch to it if it wins."""

from __future__ import annotations

import dataclasses
import pathlib
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.host import files
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.release import background
from ansible_collections.llama_fleet.core.plugins.module_utils.release import store as release_store
from ansible_collections.llama_fleet.core.plugins.module_utils.server import beside, gating
from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate import gate as server_gate
from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate import turns
from ansible_collections.llama_fleet.core.plugins.module_utils.server.instance import Instance
from ansible_collections.llama_fleet.core.plugins.module_utils.server.plan import Planner
from ansible_collections.llama_fleet.core.plugins.module_utils.server.start import Start
from ansible_collections.llama_fleet.core.plugins.module_utils.server.state.generations import KEY_FILE
from ansible_collections.llama_fleet.core.plugins.module_utils.server.switch import Switch

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.options import Options
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.state.generations import Generation

# More than for a suspicion, because a native release that is equally fast is no reason for a switch.
_TURNS = 11


class Verdict(typing.NamedTuple):
    """The outcome of a challenge, as ``release.background`` names it, and its reason."""

    outcome: str
    reason: str


@dataclasses.dataclass(frozen=True)
class Challenge:
    """The challenge of ``release``, a native one. ``phase`` is told before the switch."""

    instance: Instance
    release: pathlib.Path
    phase: typing.Callable[[str], None] = lambda _phase: None

    def run(self) -> Verdict:
        """Compare, and switch if the native release is faster, generates the same and passes its gate."""
        options, store = self.instance.options, self.instance.store
        with files.locked(options.folder.with_name(f".{options.instance}.lock")):
            beside.sweep(self.instance)
            store.sweep()
            current = store.current()
            build, reason = self._builds(current)
            if current is None or reason:
                return Verdict(background.OVERTAKEN, reason)
            try:
                return self._meet(Instance(self._options(current), self.instance.host), current, build)
            except server_gate.AnswerError as error:
                return Verdict(background.FAILED, f"{build} native could not be compared: {error}")
            except server_gate.GateError as error:
                return Verdict(background.KEPT, f"{build} native is not good: {error}; the published binaries go on")
            except ProblemError as error:
                reasons = "; ".join(problem.found for problem in error.problems)
                return Verdict(background.KEPT, f"{build} native is not good: {reasons}")

    def _builds(self, current: Generation | None) -> tuple[str, str]:
        """Return the name of the native build, and why it is no challenger of what runs now; empty if it is one."""
        native = release_store.read_manifest(self.release) or {}
        build = str(native.get("build", ""))
        process = self.instance.process()
        if current is None or not current.good or not self.instance.runs(current, process):
            return build, "the instance does not run a good generation"
        path = pathlib.Path(str(current.manifest.get("release", "")))
        served = release_store.read_manifest(path) or {}
        names = {served.get("build"), served.get("nightly")} & {build, native.get("nightly")} - {"", None}
        if served.get("origin") != "upstream" or not names:
            return build, f"the instance runs another release than the published {build}"
        return build, ""

    def _options(self, current: Generation) -> Options:
        """Return the options of what runs, with the native release."""
        keys = tuple(current.text(KEY_FILE).split())
        options = self.instance.options_of(current)
        return dataclasses.replace(options, release=str(self.release), api_key="", api_keys=keys)

    def _meet(self, native: Instance, current: Generation, build: str) -> Verdict:
        process = native.process()
        if process is None or gating.mode_of(current.options) != "completion":
            return Verdict(background.KEPT, gating.UNMEASURED)
        start, planner = Start(native, dry=False), Planner(native, dry=False)
        plan = planner.plan()
        _assessment, notes = planner.prove(plan)
        generation = start.write(plan, notes)
        ask = beside.asker_of(current, process)
        try:
            with beside.running(native, generation) as challenger:
                meeting = turns.in_turns(ask, challenger, _TURNS)
        except beside.NoRoomError:
            return self._one_after_other(native, generation, current, build, ask)
        if meeting.difference:
            raise server_gate.GateError(meeting.difference)
        compared = meeting.speed
        if compared is None or not compared.is_faster:
            speed = compared or "an unknown speed"
            return Verdict(background.KEPT, f"{build} native has {speed}; the published binaries go on")
        self._switch(native, generation, current, None)
        return Verdict(background.SWITCHED, f"runs {build} native, which has {compared}")

    def _one_after_other(
        self, native: Instance, generation: Generation, current: Generation, build: str, ask: server_gate.Ask
    ) -> Verdict:
        """Switch without a trial, because there is no room for one, and go back if the native release is slower."""
        before, texts = turns.alone(ask)
        results: list[turns.Compared] = []

        def check(challenger: server_gate.Ask) -> None:
            after, others = turns.alone(challenger)
            difference = turns.Turns((), (), tuple(zip(texts, others))).difference
            compared = turns.one_after_other([each.speed for each in before], [each.speed for each in after])
            if difference or (compared and compared.is_below(1)):
                raise server_gate.GateError(difference or f"it has {compared}")
            results.extend([compared] if compared else [])

        self._switch(native, generation, current, check)
        speed = results[0] if results else "an unknown speed"
        return Verdict(background.SWITCHED, f"runs {build} native, which has {speed}")

    def _switch(
        self,
        native: Instance,
        generation: Generation,
        current: Generation,
        check: typing.Callable[[server_gate.Ask], None] | None,
    ) -> None:
        self.phase(background.SWITCHING)
        Switch(native).to(generation, current, measured=False, check=check)
        native.store.prune(native.options.keep)
