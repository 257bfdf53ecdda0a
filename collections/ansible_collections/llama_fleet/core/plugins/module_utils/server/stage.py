# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""One instance from options to a result: plan, prove, switch, gate, and back where the gate fails; or back, or down."""

from __future__ import annotations

import datetime as dt
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.host import files
from ansible_collections.llama_fleet.core.plugins.module_utils.host.systemd_text import environment_file
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError, raise_if_any
from ansible_collections.llama_fleet.core.plugins.module_utils.server import exec as server_exec
from ansible_collections.llama_fleet.core.plugins.module_utils.server import result as server_result
from ansible_collections.llama_fleet.core.plugins.module_utils.server import rollback as server_rollback
from ansible_collections.llama_fleet.core.plugins.module_utils.server import room as server_room
from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate import gate as server_gate
from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate import trust as server_trust
from ansible_collections.llama_fleet.core.plugins.module_utils.server.plan import Host, Plan, Planner
from ansible_collections.llama_fleet.core.plugins.module_utils.server.proof.memory import Assessment
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.runtimes import SystemdRuntime
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import options as server_options
from ansible_collections.llama_fleet.core.plugins.module_utils.server.state.generations import variables_of
from ansible_collections.llama_fleet.core.plugins.module_utils.server.switch import Started, Switch

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.host import processes
    from ansible_collections.llama_fleet.core.plugins.module_utils.progress import Progress
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.result import Diff, Result
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.runtimes import Runtime
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.options import Options
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.state.generations import Generation

# A plan does not wait for a server that loads or hangs: that is for a run to do.
_AT_ONCE = server_gate.Limit(5, "the time that a plan takes")


# The variables that count for whatever is to become of an instance.
_OF_EVERY_STATE = (
    "instance",
    "root",
    "runtime_root",
    "to_generation",
    "ready_timeout",
    "drain_timeout",
    "stop_timeout",
)


class Stage:
    """One run over one instance."""

    def __init__(self, options: Options, progress: Progress, host: Host, dry: bool) -> None:
        self.options = options
        self.progress = progress
        self.host = host
        self.dry = dry
        self.planner = Planner(options, host, dry, progress.stage)
        self.store = self.planner.store
        self.switch = Switch(self.planner, progress)

    def run(self) -> Result:
        """Do what is wanted, or with ``dry`` only say what would be done."""
        actions = {"started": self._started, "rolled_back": self._rolled_back}
        action = actions.get(self.options.state, self._down)
        started = self.options.state == "started"
        # A typo in an option of a server must not keep anyone from stopping it, or from going back.
        names = {f"llama_server_{name}" for name in _OF_EVERY_STATE}
        raise_if_any(
            problem for problem in server_options.problems(self.options) if not started and problem.subject in names
        )
        if self.dry:
            return action()
        unwritable = self.planner.unwritable()
        if unwritable and started:
            # Tells everything else that is wrong as well.
            self.planner.plan()
        raise_if_any(unwritable)
        try:
            return self._locked(action)
        except OSError as error:
            raise ProblemError(server_room.unwritten(error, self.options.folder)) from error

    def _locked(self, action: typing.Callable[[], Result]) -> Result:
        with files.locked(self.options.folder.with_name(f".{self.options.instance}.lock")):
            self._sweep()
            if action != self._rolled_back:
                self.store.end_rollback()
            return action()

    def _sweep(self) -> None:
        """Remove what a run that was killed has left half written."""
        self.store.sweep()
        unit = self.options.unit
        container = f"{unit.rpartition('.')[0]}.container"
        places = {
            self.options.runtime_root: f"{self.options.instance}.json",
            self.host.unit_root: unit,
            self.host.container_root: container,
        }
        for folder, name in places.items():
            for leftover in folder.glob(f".{name}.*.new"):
                leftover.unlink()

    # -- started --------------------------------------------------------------------------------

    def _started(self) -> Result:
        plan = self.planner.plan()
        diff = self._diff(plan)
        if plan.serves:
            self.planner.prove_unchanged(plan)
        assessment, notes = self.planner.prove(plan) if not plan.serves else (Assessment(), dict[str, typing.Any]())
        if self.dry:
            return self._result(plan, plan.current if plan.same else None, diff, assessment, self._asked(plan))
        if self.planner.runtime_name == "exec":
            generation = self._generation(plan, notes)
            proved = None if generation.good else server_exec.prove(self.switch, generation, self._back(generation))
            return self._result(plan, generation, diff, assessment, proved)
        if plan.serves and plan.current and plan.process:
            runtime = self.planner.runtime()
            try:
                passed = self.switch.gate(
                    runtime, plan.current, plan.process, self.options.prompt, brief=plan.current.good
                )
            except (server_gate.AnswerError, server_gate.HeldError) as error:
                raise self.switch.failure(plan.current, runtime, str(error), self._back(plan.current)) from error
            except server_gate.GateError:
                # It hangs: what was good once deserves a restart before anything is said of failure.
                return self._switch(plan, notes, diff, assessment)
            current = self.store.mark_good(plan.current, passed.speed)
            self.store.end_stop()
            if not plan.at_boot:
                runtime.start_at_boot()
            return self._result(plan, current, diff, assessment, Started(current, plan.process, passed))
        return self._switch(plan, notes, diff, assessment)

    def _asked(self, plan: Plan) -> Started | None:
        """That an instance of which nothing changes is good, so that no run need ask it again;

        None where a run has something to do.
        """
        current = plan.current
        if plan.changed or current is None or plan.process is None or not current.good or self.store.unfinished:
            return None
        try:
            passed = self.switch.gate(
                self.planner.runtime(), current, plan.process, self.options.prompt, brief=True, limit=_AT_ONCE
            )
        except server_gate.GateError:
            return None
        return Started(current, plan.process, passed)

    def _generation(self, plan: Plan, notes: typing.Mapping[str, typing.Any]) -> Generation:
        """The wanted generation, on disk; current only where nobody else switches to it."""
        if plan.same and plan.current:
            return plan.current
        created = dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds")
        # The certificate that it starts with, by which it is known also where the file is renewed while it runs.
        certificate = server_trust.leaf(server_trust.certificate_path(plan.content.options))
        more = {"created": created, "previous": self._served_before(plan.current), "certificate": certificate}
        generation = self.store.write(plan.content, **notes, **more)
        if plan.content.runtime == "exec":
            self.store.switch(generation)
        self.store.prune(self.options.keep)
        return generation

    @staticmethod
    def _served_before(current: Generation | None) -> int:
        """The good generation to go back to: not always the newest, for there are rollbacks."""
        if current is None:
            return 0
        return current.number if current.good else int(current.manifest.get("previous", 0))

    def _back(self, generation: Generation) -> Generation | None:
        """Where to go back to from ``generation``; nowhere where it was good itself."""
        if generation.good:
            return None
        before = self.store.get(int(generation.manifest.get("previous", 0)))
        return before if before and before.good else self.store.last_good(generation.number)

    def _switch(self, plan: Plan, notes: typing.Mapping[str, typing.Any], diff: Diff, assessment: Assessment) -> Result:
        """Start the wanted generation in place of what runs; the last good one again where it fails."""
        generation = self._generation(plan, notes)
        started = self.switch.to(generation, self._back(generation), measured=not generation.good)
        self.store.prune(self.options.keep)
        return self._result(plan, started.generation, diff, assessment, started, restarted=True)

    # -- rolled back ----------------------------------------------------------------------------

    def _rolled_back(self) -> Result:
        generation = server_rollback.target(self.store, self.options.to_generation)
        current = self.store.current()
        process = next(iter(self.planner.own_processes()), None)
        runtime = self.planner.runtime(generation)
        is_current = current is not None and current.number == generation.number
        if is_current and process and self.planner.is_running(generation, process):
            unchanged = self._already_there(generation, runtime, process)
            if unchanged:
                return unchanged
        server_rollback.require_whole(self.planner, generation)
        assessment = self.planner.prove_again(generation)
        diff = server_result.diff_of(
            self._current_folder, current, {name: generation.text(name) for name in generation.files}
        )
        if self.dry:
            return self._rollback_result(generation, runtime, True, diff, assessment)
        self.store.begin_rollback(generation.number)
        back = (
            current
            if current and not is_current and (current.good or self.planner.is_running(current, process))
            else None
        )
        try:
            started = self.switch.to(generation, back, measured=False)
        finally:
            self.store.end_rollback()
        return self._rollback_result(generation, runtime, True, diff, assessment, started, restarted=True)

    def _already_there(self, generation: Generation, runtime: Runtime, process: processes.Process) -> Result | None:
        """The result of a rollback to what runs; None where that hangs and has to be started again."""
        changed = not runtime.starts_at_boot()
        if self.dry:
            return {**self._rollback_result(generation, runtime, changed, [], Assessment()), "pid": process.pid}
        try:
            passed = self.switch.gate(runtime, generation, process, self.options.prompt, brief=True)
        except (server_gate.AnswerError, server_gate.HeldError) as error:
            raise self.switch.failure(generation, runtime, str(error), None) from error
        except server_gate.GateError:
            return None
        if changed:
            runtime.start_at_boot()
        self.store.end_stop()
        self.store.end_rollback()
        return self._rollback_result(
            generation, runtime, changed, [], Assessment(), Started(generation, process, passed)
        )

    def _rollback_result(
        self,
        generation: Generation,
        runtime: Runtime,
        changed: bool,
        diff: Diff,
        assessment: Assessment,
        started: Started | None = None,
        restarted: bool = False,
    ) -> Result:
        what = (generation.options, generation.variables, generation.command, assessment, started)
        return {
            **server_result.facts(self.options, runtime.name, runtime, generation, changed, diff),
            **server_result.served(str(self.options.folder), generation.number, *what),
            **self._drained(),
            "restarted": restarted,
        }

    # -- stopped and absent ---------------------------------------------------------------------

    def _down(self) -> Result:
        current = self.store.current()
        runtimes = self.planner.other_runtimes("")
        absent = self.options.state == "absent"
        up = bool(self.planner.own_processes()) or any(self._is_up(runtime) for runtime in runtimes)
        remains = self.options.folder.exists() or bool(runtimes)
        # One that ended by an accident or by hand is told apart from one that is stopped as wanted.
        ended = not absent and self.options.folder.exists() and not self.store.stopped
        if ended and not self.dry:
            self.store.begin_stop()
        if up and not self.dry:
            self.switch.drain()
            self.progress.stage("stopping llama-server")
            for runtime in runtimes:
                runtime.stop()
            if current:
                self.switch.await_port(current)
        if absent and remains and not self.dry:
            for runtime in [*runtimes, self.planner.runtime(current)]:
                runtime.remove()
            self.store.remove()
        changed = up or ended or (absent and remains)
        before = "started" if up else "ended" if ended else "stopped" if remains else "absent"
        diff = [server_result.part(self.options.instance, f"{before}\n", f"{self.options.state}\n")] if changed else []
        name = current.runtime if current else self.planner.runtime_name
        facts = server_result.facts(
            self.options, name, self.planner.runtime(current), None if absent else current, changed, diff
        )
        warnings = [self.switch.drained.warning] if self.switch.drained.warning else []
        return {**facts, **self._drained(), "warnings": warnings}

    def _drained(self) -> Result:
        """The requests that were in flight when a server was to be stopped, and those that were cut."""
        drained = self.switch.drained
        return {"in_flight": drained.in_flight, "cut": drained.cut}

    @staticmethod
    def _is_up(runtime: Runtime) -> bool:
        return bool(runtime.own()) or (isinstance(runtime, SystemdRuntime) and runtime.active_or_enabled())

    # -- results --------------------------------------------------------------------------------

    @property
    def _current_folder(self) -> str:
        return str(self.options.folder / "current")

    def _diff(self, plan: Plan) -> Diff:
        if plan.same:
            return []
        texts = {
            "environment": environment_file(variables_of(plan.content, self.options.folder, plan.number)),
            **plan.content.files,
        }
        return server_result.diff_of(self._current_folder, plan.current, texts)

    def _result(
        self,
        plan: Plan,
        generation: Generation | None,
        diff: Diff,
        assessment: Assessment,
        started: Started | None = None,
        restarted: bool = False,
    ) -> Result:
        changed = plan.changed or restarted
        content = plan.content
        what = (content.options, content.variables, content.command, assessment, started)
        result = {
            **server_result.facts(
                self.options, self.planner.runtime_name, self.planner.runtime(), generation, changed, diff
            ),
            **server_result.served(str(self.options.folder), generation.number if generation else plan.number, *what),
            **self._drained(),
            "changed_parts": plan.changed_parts,
            "restarted": restarted,
        }
        if not assessment.figures and generation:
            result["memory"] = list(generation.manifest.get("memory_plan", []))
        if not changed and plan.process:
            result["pid"] = plan.process.pid
        if started and restarted:
            result["warnings"] += self.switch.warnings(started)
        return result
