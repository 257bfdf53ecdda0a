# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Run an instance as a process in a session of its own, on hosts without systemd."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import resource
import subprocess
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.host import files, handover, processes, unprivileged
from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate.gate import GateError
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes import host_files as server_mounts
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes import requirements as requirement
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes import user as server_user
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.options import INSTANCE_VARIABLE
from ansible_collections.llama_fleet.core.plugins.module_utils.untrusted import Number, Record

if typing.TYPE_CHECKING:
    import pathlib

    from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import Runner
    from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.host import Place, RuntimeHost
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.runtime import Report
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.options import Options
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.state.generations import Generation

STOP_SECONDS = 15.0
RECORD = Record(optional={"pid": Number(1, 1 << 22), "started": Number(), "generation": Number()})
# Bytes of a process's record at most.
_RECORD_SIZE = 256
# What a server may need of its surroundings; everything else, secrets and stray LLAMA_ARG_* alike, stays out.
_PASSED_ON = ("PATH", "HOME", "LANG", "TZ", "LD_LIBRARY_PATH")
_PASSED_ON_PREFIXES = ("CUDA_", "NVIDIA_")


def base_environment(environment: typing.Mapping[str, str]) -> dict[str, str]:
    """Return the part of our own environment that a server is given."""
    return {
        name: value for name, value in environment.items() if name in _PASSED_ON or name.startswith(_PASSED_ON_PREFIXES)
    }


@contextlib.contextmanager
def _lockable_memory() -> typing.Iterator[None]:
    """Let a process that is started within lock its memory: unlike root, an ordinary user needs a limit for that.

    If the limit cannot be raised, the server says so in its log.
    """
    before = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    try:
        yield
    finally:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_MEMLOCK, before)


@dataclasses.dataclass
class ProcessRuntime:
    """A background process in its own session, for machines without systemd."""

    folder: pathlib.Path
    runtime_root: pathlib.Path
    stop_seconds: float = STOP_SECONDS
    # Number of the user that the server runs as; 0 is this process's own user.
    user: int = 0
    # The folders that it writes.
    state: typing.Sequence[str] = ()
    _children: dict[int, subprocess.Popen[bytes]] = dataclasses.field(default_factory=dict)
    name: typing.ClassVar[str] = "process"
    automatic: typing.ClassVar[bool] = True
    needs_systemd: typing.ClassVar[bool] = False
    needs_gate_port: typing.ClassVar[bool] = False
    own_control_group: typing.ClassVar[bool] = False
    engine: typing.ClassVar[str] = ""
    asks_daemon: typing.ClassVar[bool] = False
    installs: typing.ClassVar[str] = ""
    memory_lock_fix: typing.ClassVar[str] = "run as root, or raise the limit of locked memory (ulimit -l)"

    @classmethod
    def at(cls, place: Place, options: Options | None = None) -> ProcessRuntime:
        if options is None:
            return cls(place.folder, place.runtime_root)
        return cls(
            place.folder,
            place.runtime_root,
            options.stop_timeout,
            server_user.number(options),
            server_mounts.state(options),
        )

    @staticmethod
    def render(options: Options, command: typing.Sequence[str], variables: typing.Mapping[str, str]) -> dict[str, str]:
        del options, command, variables
        return {}

    @staticmethod
    def requirements(options: Options, host: RuntimeHost, report: Report | None) -> list[Problem]:
        del host, report
        return [
            *requirement.no_limits(options, ProcessRuntime.name),
            *server_user.port_problems(options),
            *requirement.unwritable(options.runtime_root, "llama_server_runtime_root"),
        ]

    @staticmethod
    def remarks(options: Options) -> list[str]:
        return server_user.remarks(options)

    @staticmethod
    def runner(options: Options, run: Runner, inside: bool) -> Runner:
        del inside
        return server_user.runner(options, run)

    @property
    def log(self) -> str:
        return str(self._log)

    @property
    def _log(self) -> pathlib.Path:
        return self.runtime_root / f"{self.folder.name}.log"

    @property
    def _record(self) -> pathlib.Path:
        return self.runtime_root / f"{self.folder.name}.json"

    def own(self) -> list[processes.Process]:
        """Return the processes with the instance's mark outside of a unit: a killed run may have left no record."""
        unit = f"llama-fleet-{self.folder.name}.service"
        return [
            process
            for process in processes.started_with(INSTANCE_VARIABLE, str(self.folder))
            if not processes.in_unit(process.pid, unit)
        ]

    def is_up(self) -> bool:
        return bool(self.own())

    def present(self) -> bool:
        return bool(self.own()) or self._record.exists()

    def recorded(self) -> bool:
        return bool(self._recorded())

    def recorded_process(self, proc: pathlib.Path) -> processes.Process | None:
        record = self._recorded()
        process = processes.find(int(record["pid"]), proc) if record.get("pid") else None
        return process if process and process.started == record.get("started", process.started) else None

    def _recorded(self) -> dict[str, typing.Any]:
        return files.read_json(self._record, RECORD) or {}

    def settled(self, generation: Generation) -> bool:
        """Return whether the record names a process that runs: a process has nothing else around it."""
        del generation
        record = self._recorded()
        return any(own.pid == record.get("pid") and own.started == record.get("started") for own in self.own())

    def starts_at_boot(self) -> bool:
        """Return True: nothing starts processes at boot here, and no run can change that."""
        return True

    def start_at_boot(self) -> None:
        """Nothing to do."""

    def start(self, generation: Generation) -> processes.Process:
        self.stop()
        self.runtime_root.mkdir(parents=True, exist_ok=True)
        environment = {**base_environment(os.environ), **generation.variables}
        server_mounts.make_state(self.state, self.user)
        descriptor = self._new_log()
        try:
            with handover.handed_over(generation.command, environment, self.user) as handed, _lockable_memory():
                child = subprocess.Popen(  # pylint: disable=ansible-bad-function  # because run_command waits for it
                    handed.command,
                    env=handed.environment,
                    pass_fds=handed.descriptors,
                    cwd="/",
                    stdin=subprocess.DEVNULL,
                    stdout=descriptor,
                    stderr=descriptor,
                    start_new_session=True,
                    **unprivileged.identity(self.user),
                )
        except OSError as error:
            raise GateError(f"{generation.command[0]} cannot be executed: {error.strerror}") from error
        finally:
            os.close(descriptor)
        self._children[child.pid] = child
        process = processes.find(child.pid)
        if process is None:
            raise GateError(processes.ending(child.wait()))
        # Without a record a status says so, and the next run starts it anew: better than no server.
        with contextlib.suppress(OSError):
            files.write_json(
                self._record, {"pid": process.pid, "started": process.started, "generation": generation.number}
            )
        return process

    def _new_log(self) -> int:
        """Open a new log, or /dev/null if the disk is full: a server without a log is better than none."""
        log = self._log
        with contextlib.suppress(OSError):
            os.replace(log, log.with_name(f"{log.name}.1"))
        try:
            return os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
        except OSError:
            return os.open(os.devnull, os.O_WRONLY)

    def files(self) -> list[pathlib.Path]:
        return [self._record]

    def writes(self, generation: Generation) -> list[tuple[pathlib.Path, int]]:
        del generation
        return [(self._record, _RECORD_SIZE)]

    def death(self, process: processes.Process) -> str:
        if processes.alive(process):
            return ""
        child = self._children.get(process.pid)
        return processes.ending(child.wait()) if child is not None else "llama-server ended"

    def stop(self) -> None:
        # What a server has started itself stays behind where that server had to be killed, and is seen then.
        for _generation in range(3):
            for process in self.own():
                processes.stop(process, self.stop_seconds)
        for child in self._children.values():
            child.poll()
        with contextlib.suppress(OSError):
            self._record.unlink()

    def remove(self) -> None:
        for path in (self._log, self._log.with_name(f"{self._log.name}.1")):
            with contextlib.suppress(FileNotFoundError):
                path.unlink()

    def log_lines(self, count: int) -> list[str]:
        try:
            return self._log.read_text(encoding="utf-8", errors="replace").splitlines()[-count:]
        except OSError:
            return []
