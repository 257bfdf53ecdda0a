# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Compare what is wanted of an instance with what is there, and find every problem before anything changes."""

from __future__ import annotations

import dataclasses
import os
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.host import cpus, processes
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError, raise_if_any
from ansible_collections.llama_fleet.core.plugins.module_utils.server import host_checks
from ansible_collections.llama_fleet.core.plugins.module_utils.server.content import content_of, release_manifest
from ansible_collections.llama_fleet.core.plugins.module_utils.server.proof import checks
from ansible_collections.llama_fleet.core.plugins.module_utils.server.proof import proof as server_proof
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes import registry
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes import unit_file as server_unit
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import effect, workers
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import extra as server_flags
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import flag_kinds as server_kinds
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import limits as server_limits
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import options as server_options
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import render as server_writing
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import router as server_router
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import table as server_settings
from ansible_collections.llama_fleet.core.plugins.module_utils.server.state import changes as server_changes

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.instance import Instance
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.proof.memory import Assessment
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.options import Options
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.table import Setting
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.state.generations import Content, Generation


@dataclasses.dataclass(frozen=True)
class InstancePlan:
    """The generation that is wanted, and whether it is the current one and runs."""

    content: Content
    current: Generation | None
    process: processes.Process | None
    same: bool
    running: bool
    at_boot: bool
    number: int
    settings: tuple[Setting, ...] = ()
    pids: tuple[int, ...] = ()
    # Whether the server may go on with another text of its unit, and whether that has been installed.
    unit_only: bool = False
    rewritten: bool = False
    remarks: tuple[str, ...] = ()

    @property
    def serves(self) -> bool:
        """Return whether there is nothing to switch."""
        return self.same and self.running

    @property
    def changed(self) -> bool:
        """Return whether a run has anything to do."""
        return self.rewritten or not (self.serves and self.at_boot)

    @property
    def changed_parts(self) -> list[str]:
        """Return the options and other parts in which the wanted generation differs from the current one."""
        parts = server_changes.changed_parts(self.current, self.content, self.settings)
        return parts or ([server_changes.UNIT] if self.rewritten else [])


class Planner:
    """Plans an instance without changing it. With ``dry``, a release or a model may still be missing."""

    def __init__(self, instance: Instance, dry: bool) -> None:
        self._instance = instance
        self._dry = dry

    def plan(self) -> InstancePlan:
        """Return the plan; raise ProblemError with every problem at once."""
        instance, options = self._instance, self._instance.options
        own = instance.own_processes()
        problems = server_options.option_problems(options)
        wrong = {problem.subject for problem in problems}
        asking = instance.kind.runner(options, instance.host.run, inside=False)
        flags = None if "llama_server_release" in wrong else checks.read_flags(options, asking)
        devices, missing_devices = ([], []) if wrong else checks.devices(options, asking)
        problems += [
            *missing_devices,
            *server_flags.extra_problems(options.extra_options, flags, options.allow),
            *effect.effect_problems(options, flags),
            *host_checks.instance_problems(instance, own, self._dry, wrong),
        ]
        settings = server_settings.settings(options, options.threads or threads(options), devices)
        more, extra = server_flags.written(options.extra_options, flags, lambda name: _in_environment(options, name))
        try:
            variables, words = server_router.kept(options, *server_writing.split(settings, flags))
            problems += server_router.conflicts(options, [*words, *extra], flags)
        except ProblemError as error:
            problems += error.problems
        raise_if_any(problems)
        own_variables = {**server_settings.visible_gpus(options), **server_router.variables(options)}
        content = content_of(instance, {**variables, **more, **own_variables}, [*words, *extra])
        return dataclasses.replace(
            self._compared(content, own, tuple(settings)), remarks=tuple(effect.remarks(options, flags))
        )

    def _compared(
        self, content: Content, own: typing.Sequence[processes.Process], settings: tuple[Setting, ...]
    ) -> InstancePlan:
        instance = self._instance
        current = instance.store.current()
        process = next(iter(own), None)
        return InstancePlan(
            content=content,
            current=current,
            process=process,
            same=current is not None and current.fingerprint == content.fingerprint,
            running=instance.runs(current, process),
            at_boot=instance.runtime().starts_at_boot(),
            number=instance.store.next_number(),
            settings=settings,
            pids=tuple(process.pid for process in own),
            unit_only=self._unit_only(content, current, process),
        )

    def _unit_only(self, content: Content, current: Generation | None, process: processes.Process | None) -> bool:
        """Return whether a good server runs that needs no restart, because only its unit's text is to change."""
        if current is None or process is None or not current.good or current.fingerprint == content.fingerprint:
            return False
        if registry.with_unit(self._instance.runtime(current)) is None:
            return False
        number = processes.environment(process.pid).get(server_options.GENERATION_VARIABLE)
        unit = server_changes.UNIT
        return (
            number == str(current.number)
            and server_changes.only_unit(current, content)
            and server_unit.same_while_it_runs(current.text(unit), content.files[unit])
        )

    def prove(self, plan: InstancePlan) -> tuple[Assessment, dict[str, typing.Any]]:
        """Prove that the planned server could take over; return what it takes, and notes for its manifest."""
        instance, content = self._instance, plan.content
        options, kind = instance.options, instance.kind
        candidate = server_proof.Candidate(
            options, kind.own_control_group, content.command, content.variables, plan.settings, plan.pids
        )
        facts = server_proof.model_facts(content.model, plan.current) if candidate.has_model else None
        # In check mode the image may not be there yet.
        run = kind.runner(options, instance.host.run, inside=not self._dry)
        assessment = server_proof.prove(candidate, run, facts, plan.current.memory if plan.current else {})
        notes = {
            "memory": assessment.by_device,
            "memory_plan": assessment.described,
            "build": release_manifest(options).get("build", ""),
        }
        warnings = (*assessment.warnings, *plan.remarks, *kind.remarks(options))
        return dataclasses.replace(assessment, warnings=warnings), {**notes, **(facts.notes if facts else {})}

    def prove_unchanged(self, plan: InstancePlan) -> None:
        """Check the model of an instance that goes on: another file may have taken its place."""
        options = self._instance.options
        if plan.current and os.path.isfile(options.model):
            facts = server_proof.model_facts(options.model, plan.current)
            raise_if_any(server_proof.context_problems(options, facts))

    def prove_again(self, generation: Generation) -> Assessment:
        """Prove that a generation that was good once could take over as it lies on disk."""
        instance = self._instance
        options, runtime = instance.options_of(generation), instance.runtime(generation)
        candidate = server_proof.Candidate(
            options,
            runtime.own_control_group,
            tuple(generation.command),
            generation.variables,
            (),
            tuple(instance.pids()),
        )
        current = instance.store.current()
        run = runtime.runner(options, instance.host.run, inside=not self._dry)
        return server_proof.prove_again(candidate, run, generation.memory, current.memory if current else {})


def _in_environment(options: Options, name: str) -> bool:
    """Return whether the extra option ``name`` is written into the environment.

    The names of a worker's devices are in the environment, and known only after the worker. A router's command line
    would override the options of each model.
    """
    routed = server_router.is_wanted(options) and server_kinds.way_in(name) != server_router.MODE
    return routed or name == workers.OPTION


def threads(options: Options) -> int:
    """Return how many threads compute without waiting for each other, on this host and within the unit's own quota."""
    here = cpus.observe()
    allowed = server_limits.processors(options.cpu_quota)
    return dataclasses.replace(here, quota=min(here.quota, allowed or here.quota)).threads
