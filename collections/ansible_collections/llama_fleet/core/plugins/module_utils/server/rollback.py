# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Bring an instance back to a generation that was good before."""

from __future__ import annotations

import pathlib
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError, raise_if_any
from ansible_collections.llama_fleet.core.plugins.module_utils.release import store as release_store
from ansible_collections.llama_fleet.core.plugins.module_utils.server import gating, host_checks
from ansible_collections.llama_fleet.core.plugins.module_utils.server import result as server_result
from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate import gate as server_gate
from ansible_collections.llama_fleet.core.plugins.module_utils.server.plan import Planner
from ansible_collections.llama_fleet.core.plugins.module_utils.server.proof import checks as server_checks
from ansible_collections.llama_fleet.core.plugins.module_utils.server.proof.memory import Assessment
from ansible_collections.llama_fleet.core.plugins.module_utils.server.switch import Switch

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.host import processes
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.instance import Instance
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.result import Diff, Result
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.runtime import Runtime
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.state.generations import Generation
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.state.store import Store

VARIABLE = "llama_server_to_generation"


class Rollback:
    """Puts an older generation of one instance back into service. With ``dry`` it stops before the switch."""

    def __init__(self, instance: Instance, dry: bool) -> None:
        self._instance = instance
        self._options = instance.options
        self._store = instance.store
        self._dry = dry
        self._switch = Switch(instance)

    def run(self) -> Result:
        """Return the result of the run, or with ``dry`` what it would be."""
        instance = self._instance
        generation = target(self._store, self._options.to_generation)
        current, process = self._store.current(), instance.process()
        runtime = instance.runtime(generation)
        is_current = current is not None and current.number == generation.number
        if is_current and process and instance.runs(generation, process):
            unchanged = self._already_there(generation, runtime, process)
            if unchanged:
                return unchanged
        require_whole(instance, generation)
        assessment = Planner(instance, self._dry).prove_again(generation)
        texts = {name: generation.text(name) for name in generation.files}
        diff = server_result.diff_of(str(self._options.folder / "current"), current, texts)
        if self._dry:
            return self._result(generation, runtime, True, diff, assessment)
        back = current if current and not is_current and (current.good or instance.runs(current, process)) else None
        self._store.begin_rollback(generation.number)
        try:
            started = self._switch.to(generation, back, measured=False)
        finally:
            self._store.end_rollback()
        return self._result(generation, runtime, True, diff, assessment, started, restarted=True)

    def _already_there(self, generation: Generation, runtime: Runtime, process: processes.Process) -> Result | None:
        """Return the result of a rollback to what runs; None if that hangs and has to be started again."""
        changed = not runtime.starts_at_boot()
        if self._dry:
            return {**self._result(generation, runtime, changed, [], Assessment()), "pid": process.pid}
        try:
            passed = gating.gate(self._instance, runtime, generation, process, self._options.prompt, brief=True)
        except (server_gate.AnswerError, server_gate.HeldError) as error:
            raise self._switch.failure(generation, runtime, str(error), None) from error
        except server_gate.GateError:
            return None
        if changed:
            runtime.start_at_boot()
        self._store.end_stop()
        self._store.end_rollback()
        started = gating.Started(generation, process, passed)
        return self._result(generation, runtime, changed, [], Assessment(), started)

    def _result(
        self,
        generation: Generation,
        runtime: Runtime,
        changed: bool,
        diff: Diff,
        assessment: Assessment,
        started: gating.Started | None = None,
        restarted: bool = False,
    ) -> Result:
        what = (generation.options, generation.variables, generation.command, assessment, started)
        return {
            **server_result.facts(self._options, runtime, generation, changed, diff),
            **server_result.served(str(self._options.folder), generation.number, *what),
            **server_result.drained(self._switch.drained),
            "restarted": restarted,
        }


def target(store: Store, wanted: int) -> Generation:
    """Return the good generation numbered ``wanted``, or with 0 the newest good one before the current one.

    With 0 an unfinished rollback goes on to where it was going. Raise ProblemError if there is no such generation.
    """
    current = store.current()
    if wanted == 0:
        unfinished = store.unfinished_rollback()
        if unfinished is not None and unfinished.good:
            return unfinished
        older = [kept for kept in store.all() if kept.good and (current is None or kept.number < current.number)]
        if older:
            return older[-1]
        before = f"no good generation before {current.number}" if current else "no good generation"
        raise ProblemError(
            Problem(
                VARIABLE,
                f"{before}, of {_there(store)}",
                "one to go back to",
                "name another one, or change the options instead",
            )
        )
    generation = store.get(wanted)
    if generation is None:
        raise ProblemError(Problem(VARIABLE, f"{wanted}, of {_there(store)}", "a generation that is there"))
    if not generation.good:
        raise ProblemError(
            Problem(VARIABLE, f"{wanted}, which never passed its gate, of {_there(store)}", "a good generation")
        )
    return generation


def _there(store: Store) -> str:
    current = store.current()
    listed = [
        (
            f"{each.number} "
            f"({'good' if each.good else 'not good'}{', current' if current and current.number == each.number else ''})"
        )
        for each in store.all()
    ]
    return f"the generations {', '.join(listed)}" if listed else "no generation at all"


def require_whole(instance: Instance, generation: Generation) -> None:
    """Raise ProblemError if the generation's release, model, files or place on the host have changed."""
    problems = [*_damage(generation)]
    problems += host_checks.instance_problems(instance.at(generation), instance.own_processes(), dry=False)
    raise_if_any([*problems, *_replaced(generation)])


def _damage(generation: Generation) -> typing.Iterator[Problem]:
    damaged = generation.damage()
    if damaged:
        what = f"{', '.join(damaged)} of generation {generation.number}, not as it was written"
        fix = "go to another generation, or start the instance anew"
        yield Problem(str(generation.path), what, "files that nobody changed", fix)


def _replaced(generation: Generation) -> typing.Iterator[Problem]:
    wanted = int(generation.manifest.get("model_size", 0))
    size = server_checks.model_size(generation.model)
    if wanted and size and size != wanted:
        as_it_was = f"{wanted} bytes, as generation {generation.number} has it"
        yield Problem("llama_server_model", f"{generation.model} of {size} bytes", as_it_was)
    release = str(generation.manifest.get("release", ""))
    built = str((release_store.read_manifest(pathlib.Path(release)) or {}).get("fingerprint", ""))
    before = str(generation.manifest.get("release_fingerprint", ""))
    if before and built and before != built:
        as_it_was = f"the one that generation {generation.number} was made with"
        yield Problem("llama_server_release", f"another release in {release}", as_it_was)
