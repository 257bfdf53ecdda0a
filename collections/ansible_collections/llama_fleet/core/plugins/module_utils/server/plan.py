# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""What is wanted of an instance against what is there, and every problem that can be known before anything changes."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.host import commands, cpus, files, processes
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError, raise_if_any
from ansible_collections.llama_fleet.core.plugins.module_utils.release import store as release_store
from ansible_collections.llama_fleet.core.plugins.module_utils.server import room as server_room
from ansible_collections.llama_fleet.core.plugins.module_utils.server.proof import checks
from ansible_collections.llama_fleet.core.plugins.module_utils.server.proof import proof as server_proof
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes import runtimes as server_runtimes
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes import unit_file as server_unit
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes import user as server_user
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import extra as server_flags
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import limits as server_limits
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import options as server_options
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import render as server_writing
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import router as server_router
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import secrets as server_secrets
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import table as server_settings
from ansible_collections.llama_fleet.core.plugins.module_utils.server.state import changes as server_changes
from ansible_collections.llama_fleet.core.plugins.module_utils.server.state.generations import Content, Generation
from ansible_collections.llama_fleet.core.plugins.module_utils.server.state.store import Store

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.proof.memory import Assessment
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.options import Options
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.table import Setting

# What of the options is no part of a generation: it changes how we ask, not what runs.
_HOW_WE_ASK = (
    "prompt",
    "ready_timeout",
    "drain_timeout",
    "state",
    "to_generation",
    "keep",
    "min_speed_ratio",
    "memory_check",
    "allow_unauthenticated",
)
_NOT_CONTENT = (*_HOW_WE_ASK, *server_options.SECRET_FIELDS, "runtime", "root", "runtime_root", "instance")


@dataclasses.dataclass(frozen=True)
class Host:
    """What of the host a test replaces."""

    run: commands.Runner = commands.run
    systemd: bool = False
    euid: int = 0
    unit_root: pathlib.Path = server_runtimes.UNIT_ROOT
    container_root: pathlib.Path = server_runtimes.CONTAINER_ROOT
    configuration: str = server_unit.CONFIGURATION


def this_host() -> Host:
    return Host(systemd=server_runtimes.has_systemd(), euid=os.geteuid())


@dataclasses.dataclass(frozen=True)
class Plan:
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

    @property
    def serves(self) -> bool:
        """Whether there is nothing to switch."""
        return self.same and self.running

    @property
    def changed(self) -> bool:
        return not (self.serves and self.at_boot)

    @property
    def changed_parts(self) -> list[str]:
        return server_changes.changed_parts(self.current, self.content, self.settings)


class Planner:
    """Observes one instance and plans; changes nothing. With ``dry``, a release or a model may still be missing."""

    def __init__(
        self, options: Options, host: Host, dry: bool, told: typing.Callable[[str], None] = lambda _stage: None
    ) -> None:
        self.options = options
        self.host = host
        self.dry = dry
        self.told = told
        self.store = Store(options.folder)
        self.runtime_name = options.runtime if options.runtime != "auto" else ("systemd" if host.systemd else "process")

    def of(self, generation: Generation) -> Planner:
        """A planner for the same instance with the options of ``generation``, whose files must be there."""
        return Planner(self.options_of(generation), self.host, dry=False, told=lambda _stage: None)

    # -- the instance as it is ------------------------------------------------------------------

    def runtime(self, generation: Generation | None = None) -> server_runtimes.Runtime:
        """The runtime of ``generation``, or the wanted one."""
        options = self.options_of(generation) if generation else self.options
        return self._make(generation.runtime if generation else self.runtime_name, options)

    def _make(self, name: str, options: Options) -> server_runtimes.Runtime:
        return server_runtimes.make(name, options, self.host.run, self.host.unit_root, self.host.container_root)

    def other_runtimes(self, name: str) -> list[server_runtimes.Runtime]:
        """Those but ``name`` in which there is anything of this instance; with "", all of them."""
        host = self.host
        used = {self.runtime_name, *(generation.runtime for generation in self.store.all())}
        return server_runtimes.others(
            name, self.options, host.run, host.unit_root, host.container_root, host.systemd, used
        )

    def own_processes(self) -> list[processes.Process]:
        current = self.store.current()
        return server_runtimes.own(current.runtime if current else self.runtime_name, self.options, self.host.run)

    def options_of(self, generation: Generation) -> Options:
        """The options that a generation was made of, in the place of ours where it has them."""
        names = {field.name for field in dataclasses.fields(server_options.Options)}
        recorded: dict[str, typing.Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in generation.options.items()
        }
        known = {name: value for name, value in recorded.items() if name in names}
        return dataclasses.replace(
            self.options, **{**known, "runtime": generation.runtime, "api_key": generation.api_key, "api_keys": ()}
        )

    def is_running(self, generation: Generation | None, process: processes.Process | None) -> bool:
        """Whether ``generation``, and no other, runs. An exec generation is the caller's to run."""
        if generation is None or generation.runtime == "exec":
            return generation is not None
        if process is None or processes.environment(process.pid).get(server_options.GENERATION_VARIABLE) != str(
            generation.number
        ):
            return False
        return self.runtime(generation).settled(generation)

    # -- the plan -------------------------------------------------------------------------------

    def plan(self) -> Plan:
        """The plan, or every problem at once."""
        options = self.options
        own = self.own_processes()
        found = server_options.problems(options)
        wrong = {problem.subject for problem in found}
        asking = (
            server_user.runner(options, self.host.run) if self.runtime_name in server_user.RUNTIMES else self.host.run
        )
        flags = None if "llama_server_release" in wrong else checks.read_flags(options, asking)
        devices, missing_devices = ([], []) if wrong else checks.devices(options, asking)
        found += [
            *missing_devices,
            *server_flags.problems(options.extra_options, flags, options.allow),
            *self.host_problems(own, wrong),
        ]
        settings = server_settings.settings(options, options.threads or self.threads(), devices)
        try:
            variables, words = server_router.kept(options, *server_writing.split(settings, flags))
        except ProblemError as error:
            found += error.problems
        raise_if_any(found)
        content = self._content(
            {**variables, **server_settings.visible_gpus(options), **server_router.variables(options)}, words, flags
        )
        current = self.store.current()
        process = next(iter(own), None)
        return Plan(
            content=content,
            current=current,
            process=process,
            same=current is not None and current.fingerprint == content.fingerprint,
            running=self.is_running(current, process),
            at_boot=self.runtime_name == "exec" or self.runtime().starts_at_boot(),
            number=self.store.next_number(),
            settings=tuple(settings),
            pids=tuple(found.pid for found in own),
        )

    def threads(self) -> int:
        """As many as compute without waiting for each other, here and within the unit's own quota."""
        here = cpus.observe()
        allowed = server_limits.processors(self.options.cpu_quota)
        return dataclasses.replace(here, quota=min(here.quota, allowed or here.quota)).threads

    def prove(self, plan: Plan) -> tuple[Assessment, dict[str, typing.Any]]:
        """Whether the plan's server could take over; and what of that is worth noting in its manifest."""
        content = plan.content
        candidate = server_proof.Candidate(
            self.options, self.runtime_name, content.command, content.variables, plan.settings, plan.pids
        )
        facts = server_proof.model_facts(content.model, plan.current) if candidate.has_model else None
        assessment = server_proof.prove(
            candidate, self._tester(self.options, self.runtime_name), facts, plan.current.memory if plan.current else {}
        )
        notes = {
            "memory": assessment.by_device,
            "memory_plan": assessment.described,
            "build": self._release_manifest().get("build", ""),
        }
        told = (*assessment.warnings, *server_user.remarks(self.options, self.runtime_name))
        return dataclasses.replace(assessment, warnings=told), {**notes, **(facts.notes if facts else {})}

    def prove_unchanged(self, plan: Plan) -> None:
        """What an instance that goes on can still be wrong about: its model, where another file is in its place."""
        if plan.current and os.path.isfile(self.options.model):
            raise_if_any(
                server_proof.context_problems(self.options, server_proof.model_facts(self.options.model, plan.current))
            )

    def prove_again(self, generation: Generation) -> Assessment:
        """Whether a generation that was good once could take over, as it lies on disk."""
        options = self.options_of(generation)
        pids = tuple(_pids(self.own_processes()))
        candidate = server_proof.Candidate(
            options, generation.runtime, tuple(generation.command), generation.variables, (), pids
        )
        current = self.store.current()
        held = current.memory if current else {}
        return server_proof.prove_again(candidate, self._tester(options, generation.runtime), generation.memory, held)

    def _tester(self, options: Options, runtime: str) -> commands.Runner:
        """Runs the release where it will be: in the image of a container, which in check mode may not be there yet."""
        if runtime in server_user.RUNTIMES:
            return server_user.runner(options, self.host.run)
        return self.host.run if self.dry else server_runtimes.tester(options, runtime, self.host.run)

    def host_problems(
        self, own: typing.Collection[processes.Process], wrong: typing.Collection[str] = ()
    ) -> list[Problem]:
        """What is wrong on the host, apart from variables that are ``wrong`` in themselves;

        ``own`` makes room for what comes.
        """
        options = self.options
        found = checks.configuration_problems(self.host.configuration)
        paths = (
            "llama_server_release",
            "llama_server_model",
            "llama_server_instance",
            "llama_server_root",
            "llama_server_runtime_root",
        )
        if not any(name in wrong for name in paths):
            found += (
                checks.release_problems(options, self.dry)
                + checks.model_problems(options, self.dry)
                + checks.file_problems(options, self.dry)
            )
            found += checks.unit_problems(options, self.host.euid) if self.runtime_name == "systemd" else []
            found += self._runtime_problems()
            if "llama_server_host" not in wrong and "llama_server_port" not in wrong:
                found += checks.host_problems(options, _pids(own), lambda: _pids(self.own_processes()))
        return found

    def _runtime_problems(self) -> list[Problem]:
        if self.runtime_name == "systemd" and not self.host.systemd:
            return [
                Problem(
                    "llama_server_runtime",
                    "systemd, which is not PID 1 here",
                    "a runtime that this host has",
                    "use process or auto",
                )
            ]
        told = None if self.dry else self.told
        found = server_runtimes.problems(
            self.options, self.host.run, self.runtime_name, self.host.systemd, self.host.euid, told
        )
        found += self.unwritable()
        if self.runtime_name in server_user.RUNTIMES:
            found += server_user.problems(self.options)
        if self.runtime_name == "process":
            found += _unwritable(self.options.runtime_root, "llama_server_runtime_root")
        return found

    def unwritable(self) -> list[Problem]:
        obstacles = server_room.obstacles(self.options.folder) if self.options.state != "absent" else []
        return _unwritable(self.options.folder, "llama_server_root") + obstacles

    def _content(
        self, variables: dict[str, str], words: typing.Sequence[str], flags: server_flags.Flags | None
    ) -> Content:
        options = self.options
        command = [str(options.server), *words, *server_flags.arguments(options.extra_options, flags)]
        keys = tuple(server_secrets.keys(options))
        if keys:
            command += ["--api-key-file", str(options.key_file)]
        plain = {
            field.name: getattr(options, field.name)
            for field in dataclasses.fields(options)
            if field.name not in _NOT_CONTENT
        }
        return Content(
            runtime=self.runtime_name,
            release=options.release,
            release_fingerprint=str(self._release_manifest().get("fingerprint", "")),
            model=options.model,
            model_size=checks.model_size(options.model) if options.model else 0,
            options={name: list(value) if isinstance(value, tuple) else value for name, value in plain.items()},
            variables=variables,
            command=tuple(command),
            files=server_runtimes.rendered(options, command, variables, self.runtime_name),
            inputs=server_changes.inputs(options),
            api_keys=keys,
        )

    def _release_manifest(self) -> dict[str, typing.Any]:
        return release_store.read_manifest(pathlib.Path(self.options.release)) or {} if self.options.release else {}


def _unwritable(folder: pathlib.Path, variable: str) -> list[Problem]:
    try:
        files.require_writable(folder, variable)
    except ProblemError as error:
        return list(error.problems)
    return []


def _pids(found: typing.Iterable[processes.Process]) -> list[int]:
    return [process.pid for process in found]
