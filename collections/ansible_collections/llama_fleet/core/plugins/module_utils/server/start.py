# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Bring an instance to the generation that its options ask for."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.host.systemd_text import environment_file
from ansible_collections.llama_fleet.core.plugins.module_utils.server import exec as server_exec
from ansible_collections.llama_fleet.core.plugins.module_utils.server import gating, native_build
from ansible_collections.llama_fleet.core.plugins.module_utils.server import result as server_result
from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate import gate as server_gate
from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate import trust as server_trust
from ansible_collections.llama_fleet.core.plugins.module_utils.server.plan import InstancePlan, Planner
from ansible_collections.llama_fleet.core.plugins.module_utils.server.proof.memory import Assessment
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes import registry
from ansible_collections.llama_fleet.core.plugins.module_utils.server.state import changes as server_changes
from ansible_collections.llama_fleet.core.plugins.module_utils.server.state.generations import variables_of
from ansible_collections.llama_fleet.core.plugins.module_utils.server.switch import Switch

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.instance import Instance
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.result import Diff, Result
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.state.generations import Generation

Notes = typing.Mapping[str, typing.Any]
# A plan does not wait for a server that loads or hangs: that is for a run to do.
_AT_ONCE = server_gate.Limit(5, "the time that a plan takes")


class Start:
    """Plans, proves, switches and gates one instance. With ``dry`` it stops before the switch."""

    def __init__(self, instance: Instance, dry: bool) -> None:
        self._instance = instance
        self._options = instance.options
        self._store = instance.store
        self._dry = dry
        self._planner = Planner(instance, dry)
        self._switch = Switch(instance)

    def run(self) -> Result:
        """Return the result of the run, or with ``dry`` what it would be."""
        plan = self._planner.plan()
        diff = self._diff(plan)
        if plan.unit_only and not self._dry:
            plan = self._rewritten(plan)
        if plan.serves:
            self._planner.prove_unchanged(plan)
        assessment, notes = self._planner.prove(plan) if not plan.serves else (Assessment(), dict[str, typing.Any]())
        if self._dry:
            stays = plan.current if plan.same or plan.unit_only else None
            return self._result(plan, stays, diff, assessment, self._asked(plan))
        if self._instance.kind.needs_gate_port:
            generation = self.write(plan, notes)
            proved = None if generation.good else server_exec.prove(self._instance, generation, self.back(generation))
            return self._result(plan, generation, diff, assessment, proved)
        return self._kept(plan, diff, assessment) or self._switched(plan, notes, diff, assessment)

    def _rewritten(self, plan: InstancePlan) -> InstancePlan:
        """Install the wanted text of the unit without a restart, and return the plan of what is left to do."""
        current, runtime, unit = plan.current, registry.with_unit(self._instance.runtime()), server_changes.UNIT
        if current is None or runtime is None:
            return plan
        runtime.reinstall(plan.content.files[unit])
        current = self._store.rewrite_unit(current, plan.content, unit)
        return dataclasses.replace(plan, current=current, same=True, running=True, unit_only=False, rewritten=True)

    def _kept(self, plan: InstancePlan, diff: Diff, assessment: Assessment) -> Result | None:
        """Return the result of a server that runs as wanted and passes its gate; None if one has to be started."""
        current, process = plan.current, plan.process
        if not plan.serves or current is None or process is None:
            return None
        instance, runtime = self._instance, self._instance.runtime()
        try:
            passed = gating.gate(
                instance, runtime, current, process, self._options.prompt, brief=current.good, untouched=current.good
            )
        except (server_gate.AnswerError, server_gate.HeldError) as error:
            raise self._switch.failure(current, runtime, str(error), self.back(current)) from error
        except server_gate.GateError:
            # It hangs: what was good once deserves a restart before anything is said of failure.
            return None
        good = self._store.mark_good(current, passed.speed)
        self._store.end_stop()
        if not plan.at_boot:
            runtime.start_at_boot()
        return self._result(plan, good, diff, assessment, gating.Started(good, process, passed))

    def _asked(self, plan: InstancePlan) -> gating.Started | None:
        """Ask an unchanged server during planning, so that no run has to; return None if a run has something to do."""
        current, process = plan.current, plan.process
        if plan.changed or current is None or process is None or not current.good or self._store.unfinished:
            return None
        instance = self._instance
        try:
            passed = gating.gate(
                instance,
                instance.runtime(),
                current,
                process,
                self._options.prompt,
                brief=True,
                limit=_AT_ONCE,
                untouched=True,
            )
        except server_gate.GateError:
            return None
        return gating.Started(current, process, passed)

    def write(self, plan: InstancePlan, notes: Notes) -> Generation:
        """Return the wanted generation, on disk; make it current if nothing else switches to it."""
        if plan.same and plan.current:
            return plan.current
        created = dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds")
        # The certificate that it starts with identifies it even if the file is renewed while it runs.
        certificate = server_trust.leaf(server_trust.certificate_path(plan.content.options))
        more = {"created": created, "previous": self._served_before(plan.current), "certificate": certificate}
        generation = self._store.write(plan.content, **notes, **more)
        if self._instance.kind.needs_gate_port:
            self._store.switch(generation)
        self._store.prune(self._options.keep)
        return generation

    @staticmethod
    def _served_before(current: Generation | None) -> int:
        """Return the number of the good generation to go back to: after a rollback not always the newest."""
        if current is None:
            return 0
        return current.number if current.good else int(current.manifest.get("previous", 0))

    def back(self, generation: Generation) -> Generation | None:
        """Return where to go back to from ``generation``; None if it was good itself."""
        if generation.good:
            return None
        before = self._store.get(int(generation.manifest.get("previous", 0)))
        return before if before and before.good else self._store.last_good(generation.number)

    def _switched(self, plan: InstancePlan, notes: Notes, diff: Diff, assessment: Assessment) -> Result:
        """Start the wanted generation in place of what runs; the last good one again if it fails."""
        generation = self.write(plan, notes)
        folder = self._options.folder
        gives_way = native_build.gives_way(folder, plan.current, self._options.release)
        with native_build.overtaken(folder) if gives_way else contextlib.nullcontext():
            started = self._switch.to(generation, self.back(generation), measured=not (generation.good or gives_way))
        self._store.prune(self._options.keep)
        result = self._result(plan, started.generation, diff, assessment, started, restarted=True)
        return {**result, "warnings": [*result["warnings"], *self._switch.warnings(started)]}

    def _diff(self, plan: InstancePlan) -> Diff:
        if plan.same:
            return []
        variables = variables_of(plan.content, self._options.folder, plan.number)
        texts = {"environment": environment_file(variables), **plan.content.files}
        return server_result.diff_of(str(self._options.folder / "current"), plan.current, texts)

    def _result(
        self,
        plan: InstancePlan,
        generation: Generation | None,
        diff: Diff,
        assessment: Assessment,
        started: gating.Started | None = None,
        restarted: bool = False,
    ) -> Result:
        changed = plan.changed or restarted
        content = plan.content
        number = generation.number if generation else plan.number
        what = (content.options, content.variables, content.command, assessment, started)
        result = {
            **server_result.facts(self._options, self._instance.runtime(), generation, changed, diff),
            **server_result.served(str(self._options.folder), number, *what),
            **server_result.drained(self._switch.drained),
            "changed_parts": plan.changed_parts,
            "restarted": restarted,
        }
        if not assessment.figures and generation:
            result["memory"] = list(generation.manifest.get("memory_plan", []))
        if not changed and plan.process:
            result["pid"] = plan.process.pid
        return result
