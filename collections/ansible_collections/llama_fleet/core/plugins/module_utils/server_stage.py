# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""One instance from options to a result: plan, switch, gate, and back where the gate fails; or down."""

from __future__ import annotations

import time
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils import files, ports, processes, server_gate, server_options
from ansible_collections.llama_fleet.core.plugins.module_utils.generations import Generation, variables_of
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError, raise_if_any
from ansible_collections.llama_fleet.core.plugins.module_utils.server_options import CUDA, Options
from ansible_collections.llama_fleet.core.plugins.module_utils.server_plan import Host, Plan, Planner
from ansible_collections.llama_fleet.core.plugins.module_utils.server_runtimes import STOP_SECONDS, Runtime, SystemdRuntime
from ansible_collections.llama_fleet.core.plugins.module_utils.systemd_text import environment_file

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.progress import Progress

LOG_LINES = 20
# Extra options that make a server of another kind, which is asked in another way.
_MODES = {"embedding": "embedding", "embeddings": "embedding", "rerank": "rerank", "reranking": "rerank"}

Result = dict[str, typing.Any]
Diff = list[dict[str, str]]


class Stage:
    """One run over one instance."""

    def __init__(self, options: Options, progress: Progress, host: Host, dry: bool) -> None:
        self.options = options
        self.progress = progress
        self.host = host
        self.dry = dry
        self.planner = Planner(options, host, dry)
        self.store = self.planner.store

    def run(self) -> Result:
        """Do what is wanted, or with ``dry`` only say what would be done."""
        started = self.options.state == "started"
        # A typo in an option of a server must not keep anyone from stopping it.
        names = ("llama_server_instance", "llama_server_root", "llama_server_runtime_root")
        raise_if_any(problem for problem in server_options.problems(self.options) if not started and problem.subject in names)
        action = self._started if started else self._down
        if self.dry:
            return action()
        unwritable = self.planner.unwritable()
        if unwritable and started:
            # Tells everything else that is wrong as well.
            self.planner.plan()
        raise_if_any(unwritable)
        with files.locked(self.options.folder.with_name(f".{self.options.instance}.lock")):
            return action()

    # -- started --------------------------------------------------------------------------------

    def _started(self) -> Result:
        plan = self.planner.plan()
        diff = self._diff(plan)
        if self.dry:
            return self._result(plan, plan.current if plan.same else None, changed=plan.changed, diff=diff)
        if self.planner.runtime_name == "exec":
            return self._result(plan, self._generation(plan), changed=plan.changed, diff=diff)
        if plan.serves and plan.current and plan.process:
            try:
                answer = self._gate(self.planner.runtime(), plan.current, plan.process)
            except server_gate.AnswerError as error:
                raise self._failure(plan.current, self.planner.runtime(), str(error)) from error
            except server_gate.GateError:
                # It hangs: what was good once deserves a restart before anything is said of failure.
                return self._switch(plan, diff)
            self.store.mark_good(plan.current)
            if not plan.at_boot:
                self.planner.runtime().start_at_boot()
            return self._result(plan, plan.current, changed=plan.changed, diff=diff, process=plan.process, answer=answer)
        return self._switch(plan, diff)

    def _generation(self, plan: Plan) -> Generation:
        """The wanted generation, on disk and current."""
        if plan.same and plan.current:
            return plan.current
        generation = self.store.write(plan.content)
        self.store.switch(generation)
        self.store.prune()
        return generation

    def _switch(self, plan: Plan, diff: Diff) -> Result:
        """Start the wanted generation in place of what runs; the last good one again where it fails."""
        generation = self._generation(plan)
        runtime = self.planner.runtime()
        self.progress.stage("starting llama-server")
        try:
            self._stop_others(generation)
            process = runtime.start(generation)
            answer = self._gate(runtime, generation, process)
        except server_gate.GateError as error:
            raise self._failure(generation, runtime, str(error)) from error
        generation = self.store.mark_good(generation)
        self.store.prune()
        return self._result(plan, generation, changed=True, diff=diff, process=process, answer=answer, restarted=True)

    def _stop_others(self, generation: Generation) -> None:
        """Stop what an earlier generation left with another runtime."""
        if not self.host.systemd:
            return
        unit = self.planner.systemd()
        if generation.runtime == "process" and unit.active_or_enabled():
            unit.stop()
            unit.remove()
        if generation.runtime == "systemd":
            served = unit.main_pid()
            for process in self.planner.own_processes():
                if process.pid != served:
                    processes.stop(process, STOP_SECONDS)

    def _gate(self, runtime: Runtime, generation: Generation, process: processes.Process) -> str:
        options = generation.manifest["options"]
        extra = options["extra_options"]
        base = server_gate.endpoint(options["host"], options["port"], "ssl-cert-file" in extra) + str(extra.get("api-prefix", ""))
        mode = next((_MODES[name] for name, value in extra.items() if name in _MODES and value is not False), "completion")
        expected = server_gate.Expected(options["model"], options["parallel"], options["ctx_size"], mode, self.options.prompt)
        answer = server_gate.pass_gate(
            server_gate.asker(base, generation.text("api-key").strip()),
            expected,
            self.options.ready_timeout,
            lambda: runtime.death(process),
            lambda: self.progress.stage("loading the model"),
        )
        if options["backend"] == CUDA and not _uses_gpu(process.pid):
            raise server_gate.GateError("it has no GPU open, though llama_server_backend is cuda")
        return answer

    def _failure(self, generation: Generation, runtime: Runtime, reason: str) -> ProblemError:
        """Go back to the last good generation; the error that tells all of it."""
        log = [line for line in runtime.log_lines(LOG_LINES) if line.strip()]
        outcome = self._roll_back(generation, runtime)
        lines = "\n".join(log) or "(nothing)"
        return ProblemError(
            Problem(
                f"instance {self.options.instance}",
                f"generation {generation.number} not good: {reason}",
                "a server that passes its gate",
                f"{outcome}; the last lines of its log ({runtime.log}) are\n{lines}\n",
            )
        )

    def _roll_back(self, failed: Generation, runtime: Runtime) -> str:
        if failed.good:
            return "it passed its gate before, so it was left as it is"
        previous = self.store.last_good(failed.number)
        if previous is None:
            runtime.stop()
            if isinstance(runtime, SystemdRuntime):
                runtime.remove()
            self.store.forget_current()
            return "it was stopped, for there is no generation to go back to"
        self.progress.stage(f"going back to generation {previous.number}")
        self.store.switch(previous)
        back = self.planner.runtime(previous.runtime)
        try:
            if back.name != runtime.name:
                runtime.stop()
            self._gate(back, previous, back.start(previous))
        except server_gate.GateError as error:
            return f"generation {previous.number} was put back, but it is not good either: {error}"
        return f"generation {previous.number} is back in service"

    # -- stopped and absent ---------------------------------------------------------------------

    def _down(self) -> Result:
        current = self.store.current()
        unit = self.planner.systemd() if self.host.systemd else None
        up = bool(self.planner.own_processes()) or (unit is not None and unit.active_or_enabled())
        absent = self.options.state == "absent"
        remains = self.options.folder.exists() or (self.host.unit_root / self.options.unit).exists()
        if up and not self.dry:
            self.progress.stage("stopping llama-server")
            if unit is not None and unit.active_or_enabled():
                unit.stop()
            self.planner.process().stop()
            self._wait_for_port(current)
        if absent and remains and not self.dry:
            if unit is not None:
                unit.remove()
            self.planner.process().remove()
            self.store.remove()
        changed = up or (absent and remains)
        before = "started" if up else ("stopped" if remains else "absent")
        name = self.options.instance
        diff = [{"before_header": name, "after_header": name, "before": f"{before}\n", "after": f"{self.options.state}\n"}] if changed else []
        return self._facts(current.runtime if current else self.planner.runtime_name, None if absent else current, changed, diff)

    def _wait_for_port(self, current: Generation | None) -> None:
        end = time.monotonic() + 10
        while current and ports.listeners(current.port, current.host) and time.monotonic() < end:
            time.sleep(0.1)

    # -- results --------------------------------------------------------------------------------

    def _diff(self, plan: Plan) -> Diff:
        if plan.same:
            return []
        texts = {"environment": environment_file(variables_of(plan.content, self.options.folder, plan.number))}
        if plan.content.unit:
            texts["unit"] = plan.content.unit
        before = {name: plan.current.text(name) if plan.current else "" for name in texts}
        headers = {name: str(self.options.folder / "current" / name) for name in texts}
        return [
            {"before_header": headers[name], "after_header": headers[name], "before": before[name], "after": text}
            for name, text in texts.items()
            if before[name] != text
        ]

    def _result(
        self,
        plan: Plan,
        generation: Generation | None,
        changed: bool,
        diff: Diff,
        process: processes.Process | None = None,
        answer: str = "",
        restarted: bool = False,
    ) -> Result:
        found = process or (None if changed else plan.process)
        number = generation.number if generation else plan.number
        return {
            **self._facts(self.planner.runtime_name, generation, changed, diff),
            "generation": number,
            "endpoint": server_gate.endpoint(self.options.host, self.options.port, "ssl-cert-file" in self.options.extra_options),
            "device": plan.content.device,
            "command": list(plan.content.command),
            "environment_file": str(self.options.folder / "generations" / str(number) / "environment"),
            "pid": found.pid if found else 0,
            "restarted": restarted,
            "ready": process is not None,
            "answer": answer,
        }

    def _facts(self, runtime: str, generation: Generation | None, changed: bool, diff: Diff) -> Result:
        """What every result has."""
        return {
            "changed": changed,
            "would_change": changed,
            "diff": diff,
            "instance": self.options.instance,
            "state": self.options.state,
            "runtime": runtime,
            "generation": generation.number if generation else 0,
            "endpoint": "",
            "device": "",
            "command": [],
            "environment_file": "",
            "pid": 0,
            "restarted": False,
            "ready": False,
            "answer": "",
            "log": "" if runtime == "exec" else self.planner.runtime(runtime).log,
        }


def _uses_gpu(pid: int) -> bool:
    """Whether the process has a GPU open; true where that cannot be seen."""
    opened = processes.open_files(pid)
    return not opened or any(target.startswith(("/dev/nvidia", "/dev/dxg")) for target in opened)
