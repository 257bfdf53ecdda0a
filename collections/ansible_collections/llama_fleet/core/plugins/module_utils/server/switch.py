# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Start one generation in place of another, let it pass its gate, and put the other one back if it fails."""

from __future__ import annotations

import dataclasses
import time
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.host import files, processes
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.release.memory_plan import HOST
from ansible_collections.llama_fleet.core.plugins.module_utils.server import beside, gating
from ansible_collections.llama_fleet.core.plugins.module_utils.server import drain as server_drain
from ansible_collections.llama_fleet.core.plugins.module_utils.server import room as server_room
from ansible_collections.llama_fleet.core.plugins.module_utils.server.contest import Contest, contest
from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate import gate as server_gate
from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate import metrics as server_metrics
from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate import trust as server_trust
from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate.client import base_of
from ansible_collections.llama_fleet.core.plugins.module_utils.server.proof import free as server_memory_free
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes import host_files as server_mounts
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.options import GENERATION_VARIABLE
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.table import CUDA

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.instance import Instance
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.runtime import Runtime
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.state.generations import Generation

LOG_LINES = 20
Check = typing.Callable[[server_gate.Ask], None]
# Seconds that another process may take to leave the port of the generation to go back to.
PORT_SECONDS = 10.0


class Switch:
    """Puts generations of one instance into service."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.options = instance.options
        self.store = instance.store
        self.progress = instance.progress
        self.drained = server_drain.Drained()
        self.contest = Contest(instance)

    def to(
        self, generation: Generation, back: Generation | None, measured: bool, check: Check | None = None
    ) -> gating.Started:
        """Start ``generation`` in place of what runs, and ``back`` again where that fails.

        ``measured`` says whether its speed is judged. ``check`` is called after the gate and may raise GateError.
        """
        runtime = self.instance.runtime(generation)
        # What is written once the old server is touched gets its room before that: a full disk stops a run here, with
        # everything as it was.
        ways = [(tried, self.instance.runtime(tried)) for tried in (generation, back) if tried]
        before = back if back and back.number != generation.number else None
        self.contest = contest(self.instance, generation, before, measured)
        with files.reserved(*server_room.wanted(self.options.folder, ways)):
            self.drain()
            self.contest.look(self.instance.process())
            self.progress.stage("starting llama-server")
            self.store.switch(generation)
            started = self._start(runtime, generation, back, check)
            return dataclasses.replace(started, generation=self._marked(started))

    def _start(
        self, runtime: Runtime, generation: Generation, back: Generation | None, check: Check | None
    ) -> gating.Started:
        """Start the generation and let it pass its gate; start ``back`` again if it fails."""
        try:
            self._stop_others(runtime)
            process = runtime.start(generation)
            measure = self.contest.baseline
            passed = gating.gate(self.instance, runtime, generation, process, self.options.prompt, measure)
            ask = beside.asker_of(generation, process)
            self.contest.judge(passed, ask)
            if check:
                check(ask)
        except (server_gate.GateError, OSError) as error:
            raise self.failure(generation, runtime, str(error), back) from error
        return gating.Started(generation, process, passed, self.contest.warning)

    def _marked(self, started: gating.Started) -> Generation:
        """Note the generation as good and return it.

        It serves, so it stays even if that cannot be written: the next run asks it again and notes it.
        """
        try:
            return self.store.mark_good(started.generation, started.passed.speed)
        except OSError as error:
            number = started.generation.number
            unmarked = f"generation {number}, which serves and passed its gate, but cannot be noted as good: {error}"
            fix = "mend the file system and run it again: the server goes on meanwhile"
            raise ProblemError(
                Problem(f"instance {self.options.instance}", unmarked, "a record of it that can be written", fix)
            ) from error

    def drain(self) -> None:
        """Wait until the running server has ended its requests, for llama_server_drain_timeout seconds at most.

        Nothing is changed yet.
        """
        process = self.instance.process()
        generation = self._run_by(process) if process else None
        if process is None or generation is None:
            return
        patience = server_drain.Patience(self.options.drain_timeout)
        fetch = server_metrics.fetcher(base_of(generation.options), server_trust.of(generation, process))
        self.drained = server_drain.drain(fetch, patience, lambda: processes.alive(process), self._tell_waiting)

    def _run_by(self, process: processes.Process) -> Generation | None:
        """Return the generation that a process was started as: after a killed run not always the current one."""
        number = processes.environment(process.pid).get(GENERATION_VARIABLE, "")
        return (self.store.get(int(number)) if number.isdigit() else None) or self.store.current()

    def _tell_waiting(self, count: int, seconds: int) -> None:
        what = "its requests" if count < 0 else "1 request" if count == 1 else f"{count} requests"
        self.progress.stage(f"waiting for {what} to end, {seconds} s at most")

    def _stop_others(self, runtime: Runtime) -> None:
        """Stop what an earlier generation left with another runtime."""
        for other in self.instance.other_runtimes(runtime.name):
            other.stop()
            other.remove()

    def warnings(self, started: gating.Started) -> list[str]:
        """Return warnings about a server that is good: requests that were cut, memory that is not locked."""
        generation = started.generation
        options, runtime = self.instance.options_of(generation), self.instance.runtime(generation)
        cut = [self.drained.warning] if self.drained.warning else []
        if not server_mounts.locks_memory(options, generation.command, generation.variables):
            return cut
        plan = {row["device"]: row["model_mib"] for row in generation.manifest.get("memory_plan", [])}
        wanted = plan.get(HOST, 0 if options.backend == CUDA else int(generation.manifest.get("model_size", 0)) >> 20)
        warning = server_memory_free.lock_warning(
            server_memory_free.locked_bytes(started.process.pid), wanted, runtime.memory_lock_fix
        )
        return [*cut, warning] if warning else cut

    # -- failure --------------------------------------------------------------------------------

    def failure(self, generation: Generation, runtime: Runtime, reason: str, back: Generation | None) -> ProblemError:
        """Go back to the generation ``back``, and return the error that says why and what became of it."""
        log = [line for line in runtime.log_lines(LOG_LINES) if line.strip()]
        strangers = self._strangers(generation)
        if strangers and strangers not in reason:
            reason = f"{reason}; {strangers}"
        outcome = self._go_back(generation, runtime, back)
        lines = "\n".join(log) or "(nothing)"
        return ProblemError(
            Problem(
                f"instance {self.options.instance}",
                f"generation {generation.number} not good: {reason}; {outcome}",
                "a server that passes its gate",
                f"read the last lines of its log ({runtime.log}):\n{lines}\n",
            )
        )

    def _strangers(self, generation: Generation) -> str:
        """Return who else has the port of ``generation``, which may be why it does not answer; empty if it is free."""
        own = self.instance.pids()
        others = server_trust.strangers(generation.host, generation.port, own)
        return server_trust.held(others) if others else ""

    def await_port(self, generation: Generation) -> None:
        """Wait for up to PORT_SECONDS until only the instance itself has the port: before that no start can succeed."""
        end = time.monotonic() + PORT_SECONDS
        while self._strangers(generation) and time.monotonic() < end:
            time.sleep(0.1)

    def _go_back(self, failed: Generation, runtime: Runtime, back: Generation | None) -> str:
        if back is None and failed.good:
            return "it passed its gate before, so it was left as it is"
        if back is None:
            runtime.stop()
            runtime.remove()
            self.store.forget_current()
            return "it was stopped, for there is no generation to go back to"
        self.progress.stage(f"going back to generation {back.number}")
        again = self.instance.runtime(back)
        try:
            self.store.switch(back)
            if again.name != runtime.name:
                runtime.stop()
                runtime.remove()
            self.await_port(back)
            # Nothing else can replace it: it has at least the time that its size asks for.
            limits = (gating.limit_of(back, self.options.ready_timeout), gating.limit_of(back))
            limit = max(limits, key=lambda limit: limit.seconds)
            gating.gate(self.instance, again, back, again.start(back), brief=True, limit=limit)
        except server_gate.GateError as error:
            return f"generation {back.number} was put back, but it is not good either: {error}"
        except OSError as error:
            return f"generation {back.number} could not be put back: {error}"
        return f"generation {back.number} is back in service"
