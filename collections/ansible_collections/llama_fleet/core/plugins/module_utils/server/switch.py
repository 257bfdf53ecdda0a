# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""One generation in the place of another: started, gated, and the other one again where the gate says no."""

from __future__ import annotations

import dataclasses
import os
import time
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.host import files, processes
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.release.memory_plan import HOST
from ansible_collections.llama_fleet.core.plugins.module_utils.server import drain as server_drain
from ansible_collections.llama_fleet.core.plugins.module_utils.server import room as server_room
from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate import gate as server_gate
from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate import metrics as server_metrics
from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate import speed as server_speed
from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate import trust as server_trust
from ansible_collections.llama_fleet.core.plugins.module_utils.server.proof import free as server_memory_free
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes import host_files as server_mounts
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import router as server_router
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.options import GENERATION_VARIABLE
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.table import CUDA

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.progress import Progress
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.plan import Planner
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.runtimes import Runtime
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.state.generations import Generation

LOG_LINES = 20
# Seconds that a stranger on the port of the generation to go back to has to leave it.
PORT_SECONDS = 10.0
# Extra options that make a server of another kind, which is asked in another way.
_MODES = {"embedding": "embedding", "embeddings": "embedding", "rerank": "rerank", "reranking": "rerank"}


@dataclasses.dataclass(frozen=True)
class Started:
    """A generation that is in service."""

    generation: Generation
    process: processes.Process
    passed: server_gate.Passed


class Switch:
    """Puts generations of one instance into service."""

    def __init__(self, planner: Planner, progress: Progress) -> None:
        self.planner = planner
        self.options = planner.options
        self.store = planner.store
        self.progress = progress
        self.drained = server_drain.Drained()

    def to(self, generation: Generation, back: Generation | None, measured: bool) -> Started:
        """Start ``generation`` in place of what runs, and ``back`` again where that fails.

        ``measured`` says whether its speed is judged.
        """
        runtime = self.planner.runtime(generation)
        # Whatever is written once the old one is touched is there before that: a full disk stops a run here, and leaves
        # all as it is.
        ways = [(found, self.planner.runtime(found)) for found in (generation, back) if found]
        with files.reserved(*server_room.wanted(self.options.folder, ways)):
            self.drain()
            self.progress.stage("starting llama-server")
            self.store.switch(generation)
            started = self._start(runtime, generation, back, measured)
            return dataclasses.replace(started, generation=self._marked(started))

    def _start(self, runtime: Runtime, generation: Generation, back: Generation | None, measured: bool) -> Started:
        """The generation, started and gated; ``back`` again where it cannot be."""
        try:
            self._stop_others(runtime)
            process = runtime.start(generation)
            before = back if back and back.number != generation.number else None
            ratio = self.options.min_speed_ratio if measured else 0.0
            measure = server_speed.baseline(ratio, generation.model, before, reversed(self.store.all()))
            passed = self.gate(runtime, generation, process, self.options.prompt, measure)
        except (server_gate.GateError, OSError) as error:
            raise self.failure(generation, runtime, str(error), back) from error
        return Started(generation, process, passed)

    def _marked(self, started: Started) -> Generation:
        """The generation, noted as good.

        It serves, so it stays where that cannot be written: the next run asks it again and notes it.
        """
        try:
            return self.store.mark_good(started.generation, started.passed.speed)
        except OSError as error:
            number = started.generation.number
            found = f"generation {number}, which serves and passed its gate, but cannot be noted as good: {error}"
            fix = "mend the file system and run it again: the server goes on meanwhile"
            raise ProblemError(
                Problem(f"instance {self.options.instance}", found, "a record of it that can be written", fix)
            ) from error

    def drain(self) -> None:
        """Let what runs end the requests that it has, as far as llama_server_drain_timeout allows.

        Nothing is changed yet.
        """
        process = next(iter(self.planner.own_processes()), None)
        generation = self._run_by(process) if process else None
        if process is None or generation is None:
            return
        patience = server_drain.Patience(self.options.drain_timeout)
        fetch = server_metrics.fetcher(base_of(generation.options), server_trust.of(generation, process))
        self.drained = server_drain.drain(fetch, patience, lambda: processes.alive(process), self._tell_waiting)

    def _run_by(self, process: processes.Process) -> Generation | None:
        """The generation that a process was started as, which after a run that was killed is not always the current
        one.
        """
        number = processes.environment(process.pid).get(GENERATION_VARIABLE, "")
        return (self.store.get(int(number)) if number.isdigit() else None) or self.store.current()

    def _tell_waiting(self, count: int, seconds: int) -> None:
        what = "its requests" if count < 0 else "1 request" if count == 1 else f"{count} requests"
        self.progress.stage(f"waiting for {what} to end, {seconds} s at most")

    def _stop_others(self, runtime: Runtime) -> None:
        """Stop what an earlier generation left with another runtime."""
        for other in self.planner.other_runtimes(runtime.name):
            other.stop()
            other.remove()

    def gate(
        self,
        runtime: Runtime,
        generation: Generation,
        process: processes.Process,
        prompt: str = "",
        measure: server_speed.Baseline | None = None,
        brief: bool = False,
        limit: server_gate.Limit | None = None,
    ) -> server_gate.Passed:
        """Wait until it is good;

        ``brief`` is for one that was good before, ``limit`` for where the usual one is not right.
        """
        options = generation.options
        alias = generation.variables.get("LLAMA_ARG_ALIAS", "")
        expected = server_gate.Expected(
            options["model"], options["parallel"], options["ctx_size"], mode_of(options), prompt, alias, brief, measure
        )
        try:
            passed = server_gate.pass_gate(
                server_gate.asker(base_of(options), server_trust.of(generation, process)),
                expected,
                limit or _limit(generation, self.options.ready_timeout),
                lambda: runtime.death(process),
                lambda: self.progress.stage("loading the model"),
            )
        except server_trust.StrangerError as error:
            raise server_gate.HeldError(f"{error}; it was asked for nothing and given no key") from error
        # The servers that a router starts have the GPUs open, not itself.
        if options["backend"] == CUDA and expected.mode != server_router.MODE:
            self._require_gpus(generation, process, brief)
        return passed

    def _require_gpus(self, generation: Generation, process: processes.Process, brief: bool) -> None:
        opened = processes.open_files(process.pid)
        listed = server_memory_free.compute_processes(self.planner.host.run) if not (opened and brief) else []
        reason = no_gpu(opened, listed, process.pid) or ("" if brief else too_few_gpus(generation, listed, process.pid))
        if reason:
            raise server_gate.GateError(reason)

    def warnings(self, started: Started) -> list[str]:
        """What is not as it was meant to be, though the server is good."""
        generation = started.generation
        options = self.planner.options_of(generation)
        cut = [self.drained.warning] if self.drained.warning else []
        if not server_mounts.locks_memory(options, generation.command, generation.variables):
            return cut
        plan = {row["device"]: row["model_mib"] for row in generation.manifest.get("memory_plan", [])}
        wanted = plan.get(HOST, 0 if options.backend == CUDA else int(generation.manifest.get("model_size", 0)) >> 20)
        warning = server_memory_free.lock_warning(
            server_memory_free.locked_bytes(started.process.pid), wanted, generation.runtime
        )
        return [*cut, warning] if warning else cut

    # -- failure --------------------------------------------------------------------------------

    def failure(self, generation: Generation, runtime: Runtime, reason: str, back: Generation | None) -> ProblemError:
        """Go back to the generation ``back``; the error that tells all of it."""
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
        """Who else has the port of ``generation``, which may be why it does not answer there; empty where nobody
        has.
        """
        own = [process.pid for process in self.planner.own_processes()]
        others = server_trust.strangers(generation.host, generation.port, own)
        return server_trust.held(others) if others else ""

    def await_port(self, generation: Generation) -> None:
        """Give whatever has the port, but the instance itself, the time to leave it: until then nothing can be
        started there.
        """
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
        again = self.planner.runtime(back)
        try:
            self.store.switch(back)
            if again.name != runtime.name:
                runtime.stop()
                runtime.remove()
            self.await_port(back)
            # Nothing else can replace it: it has at least the time that its size asks for.
            limits = (_limit(back, self.options.ready_timeout), _limit(back))
            self.gate(again, back, again.start(back), brief=True, limit=max(limits, key=lambda limit: limit.seconds))
        except server_gate.GateError as error:
            return f"generation {back.number} was put back, but it is not good either: {error}"
        except OSError as error:
            return f"generation {back.number} could not be put back: {error}"
        return f"generation {back.number} is back in service"


def no_gpu(opened: typing.Sequence[str], listed: typing.Iterable[tuple[str, str, str]], pid: int) -> str:
    """Why ``pid`` cannot be said to compute on a GPU; empty where it has one open, or where only the driver can tell
    and does.

    A server that runs has files open: where none is seen, this user may not look. It is not taken for good without a
    proof.
    """
    if any(target.startswith(("/dev/nvidia", "/dev/dxg")) for target in opened):
        return ""
    if opened:
        return "it has no GPU open, though llama_server_backend is cuda"
    if any(int(found) == pid for found, _gpu, _mib in listed):
        return ""
    return (
        f"whether it has a GPU open cannot be seen by this user (uid {os.geteuid()}), nor does nvidia-smi list its "
        f"process {pid}: run with become or sudo"
    )


def too_few_gpus(generation: Generation, listed: typing.Iterable[tuple[str, str, str]], pid: int) -> str:
    """Why ``pid`` does not compute on as many GPUs as it was given, by the driver's list; empty where it does, or
    where the list cannot tell.
    """
    wanted = generation.variables.get("LLAMA_ARG_DEVICE", "").split(",")
    used = {gpu for found, gpu, _mib in listed if int(found) == pid}
    # In a container the driver does not see us, and slices of one GPU have its name.
    if not used or generation.options.get("split_mode") == "none" or any(gpu.startswith("MIG") for gpu in used):
        return ""
    return (
        f"it computes on {len(used)} of the {len(wanted)} devices {', '.join(wanted)}"
        if len(used) < len(wanted)
        else ""
    )


def _limit(generation: Generation, ready_timeout: int = 0) -> server_gate.Limit:
    return server_gate.ready_limit(ready_timeout, int(generation.manifest.get("model_size", 0)))


def endpoint_of(options: typing.Mapping[str, typing.Any]) -> str:
    """Where a client on this host reaches a server with these options."""
    return server_gate.endpoint(options["host"], options["port"], bool(server_trust.certificate_path(options)))


def base_of(options: typing.Mapping[str, typing.Any]) -> str:
    """The same with the prefix of its paths, if it has one."""
    return endpoint_of(options) + str(options["extra_options"].get("api-prefix", ""))


def mode_of(options: typing.Mapping[str, typing.Any]) -> str:
    """What a server with these options is there for."""
    if options.get("model") == "":
        return server_router.MODE
    if options.get("rerank"):
        return "rerank"
    if options.get("embeddings"):
        return "embedding"
    return next(
        (_MODES[name] for name, value in options["extra_options"].items() if name in _MODES and value is not False),
        "completion",
    )
