# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""What is wanted of an instance against what is there, and every problem that can be known before anything changes."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils import commands, cpus, files, processes, server_flags, server_options, server_unit
from ansible_collections.llama_fleet.core.plugins.module_utils import server_checks as checks
from ansible_collections.llama_fleet.core.plugins.module_utils.generations import Content, Generation, Store
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError, raise_if_any
from ansible_collections.llama_fleet.core.plugins.module_utils.server_runtimes import UNIT_ROOT, ProcessRuntime, Runtime, SystemdRuntime, has_systemd

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.server_options import Options, Setting

# What of the options is no part of a generation: it changes how we ask, not what runs.
_NOT_CONTENT = ("api_key", "prompt", "ready_timeout", "state", "runtime", "root", "runtime_root", "instance")


@dataclasses.dataclass(frozen=True)
class Host:
    """What of the host a test replaces."""

    run: commands.Runner = commands.run
    systemd: bool = False
    euid: int = 0
    unit_root: pathlib.Path = UNIT_ROOT
    configuration: str = server_unit.CONFIGURATION


def this_host() -> Host:
    return Host(systemd=has_systemd(), euid=os.geteuid())


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

    @property
    def serves(self) -> bool:
        """Whether there is nothing to switch."""
        return self.same and self.running

    @property
    def changed(self) -> bool:
        return not (self.serves and self.at_boot)


class Planner:
    """Observes one instance and plans; changes nothing. With ``dry``, a release or a model may still be missing."""

    def __init__(self, options: Options, host: Host, dry: bool) -> None:
        self.options = options
        self.host = host
        self.dry = dry
        self.store = Store(options.folder)
        self.runtime_name = options.runtime if options.runtime != "auto" else ("systemd" if host.systemd else "process")

    def systemd(self) -> SystemdRuntime:
        return SystemdRuntime(self.options.folder, self.options.unit, self.host.run, self.host.unit_root)

    def process(self) -> ProcessRuntime:
        return ProcessRuntime(self.options.folder, self.options.runtime_root)

    def runtime(self, name: str = "") -> Runtime:
        return self.systemd() if (name or self.runtime_name) == "systemd" else self.process()

    def own_processes(self) -> list[processes.Process]:
        return processes.started_with(server_options.INSTANCE_VARIABLE, str(self.options.folder))

    def plan(self) -> Plan:
        """The plan, or every problem at once."""
        options = self.options
        found = server_options.problems(options)
        wrong = {problem.subject for problem in found}
        flags = None if "llama_server_release" in wrong else checks.read_flags(options, self.host.run)
        devices, missing_devices = ([], []) if wrong else checks.devices(options, self.host.run)
        found += [*missing_devices, *server_flags.problems(options.extra_options, flags), *self._host_problems(wrong)]
        raise_if_any(found)
        settings = server_options.settings(options, options.threads or cpus.observe().threads, devices)
        content = self._content(settings, flags)
        current = self.store.current()
        same = current is not None and current.fingerprint == content.fingerprint
        process = next(iter(self.own_processes()), None)
        at_boot = self.runtime_name == "exec" or self.runtime().starts_at_boot()
        plan = Plan(content, current, process, same, self._is_running(current, process), at_boot, self.store.next_number())
        if not plan.serves and options.release and options.server.is_file():
            self._test(content, settings)
        return plan

    def _host_problems(self, wrong: set[str]) -> list[Problem]:
        """What is wrong on the host, apart from variables that are ``wrong`` in themselves."""
        options = self.options
        found = checks.configuration_problems(self.host.configuration)
        if not wrong & {"llama_server_release", "llama_server_model", "llama_server_instance", "llama_server_root", "llama_server_runtime_root"}:
            found += checks.release_problems(options, self.dry) + checks.model_problems(options, self.dry)
            found += checks.unit_problems(options, self.host.euid) if self.runtime_name == "systemd" else []
            found += self._runtime_problems()
            if not wrong & {"llama_server_host", "llama_server_port"}:
                found += checks.host_problems(options, [process.pid for process in self.own_processes()])
        return found

    def _runtime_problems(self) -> list[Problem]:
        if self.runtime_name == "systemd" and not self.host.systemd:
            return [Problem("llama_server_runtime", "systemd, which is not PID 1 here", "a runtime that this host has", "use process or auto")]
        found = self.unwritable()
        if self.runtime_name == "process":
            found += _unwritable(self.options.runtime_root, "llama_server_runtime_root")
        return found

    def unwritable(self) -> list[Problem]:
        return _unwritable(self.options.folder, "llama_server_root")

    def _content(self, settings: typing.Sequence[Setting], flags: server_flags.Flags | None) -> Content:
        options = self.options
        variables, words = server_options.split(settings, flags)
        command = [str(options.server), *words, *server_flags.arguments(options.extra_options, flags)]
        if options.api_key:
            command += ["--api-key-file", str(options.key_file)]
        plain = {name: value for name, value in dataclasses.asdict(options).items() if name not in _NOT_CONTENT}
        release = files.read_json(pathlib.Path(options.release) / "manifest.json") or {} if options.release else {}
        return Content(
            runtime=self.runtime_name,
            release=options.release,
            release_fingerprint=str(release.get("fingerprint", "")),
            model=options.model,
            model_size=checks.model_size(options.model) if options.model else 0,
            options={**plain, "devices": list(options.devices), "extra_options": dict(options.extra_options)},
            variables=variables,
            command=tuple(command),
            api_key=options.api_key,
            unit=server_unit.render(options, command) if self.runtime_name == "systemd" else "",
        )

    def _is_running(self, current: Generation | None, process: processes.Process | None) -> bool:
        """Whether the current generation, and no other, runs. An exec generation is the caller's to run."""
        if current is None or self.runtime_name == "exec":
            return current is not None
        if process is None or processes.environment(process.pid).get(server_options.GENERATION_VARIABLE) != str(current.number):
            return False
        return current.runtime == self.runtime_name and self.runtime().settled(current)

    def _test(self, content: Content, settings: typing.Sequence[Setting]) -> None:
        """Let the release itself judge, without the key's file, which is not there yet."""
        command = [word for word in content.command if word not in ("--api-key-file", str(self.options.key_file))]
        problem = checks.config_test(command, content.variables, settings, self.host.run)
        raise_if_any([problem] if problem else [])


def _unwritable(folder: pathlib.Path, variable: str) -> list[Problem]:
    try:
        files.require_writable(folder, variable)
    except ProblemError as error:
        return list(error.problems)
    return []
