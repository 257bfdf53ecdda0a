# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""An instance as a process of its own session, for machines without systemd."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import resource
import subprocess
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.host import files, processes, unprivileged
from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate.gate import GateError
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.options import INSTANCE_VARIABLE
from ansible_collections.llama_fleet.core.plugins.module_utils.untrusted import Number, Record

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.state.generations import Generation

STOP_SECONDS = 15.0
RECORD = Record(optional={"pid": Number(1, 1 << 22), "started": Number(), "generation": Number()})
# Bytes of a process's record at most.
_RECORD_SIZE = 256
# What a server may need of its surroundings; everything else, secrets and stray LLAMA_ARG_* alike, stays out.
_PASSED_ON = ("PATH", "HOME", "LANG", "TZ", "LD_LIBRARY_PATH")
_PASSED_ON_PREFIXES = ("CUDA_", "NVIDIA_")


def base_environment(environment: typing.Mapping[str, str]) -> dict[str, str]:
    """What of our own environment a server is given."""
    return {
        name: value for name, value in environment.items() if name in _PASSED_ON or name.startswith(_PASSED_ON_PREFIXES)
    }


@contextlib.contextmanager
def _lockable_memory() -> typing.Iterator[None]:
    """Let what is started within lock its memory: root needs no limit for that, and whom it becomes does.

    Where it may not, the server says so.
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
    """A process that outlives us, in a session of its own, for machines without systemd."""

    folder: pathlib.Path
    runtime_root: pathlib.Path
    stop_seconds: float = STOP_SECONDS
    name: str = "process"
    # The number of the user that the server runs as; 0 is this process's own.
    user: int = 0
    _children: dict[int, subprocess.Popen[bytes]] = dataclasses.field(default_factory=dict)

    @property
    def log(self) -> str:
        return str(self.runtime_root / f"{self.folder.name}.log")

    @property
    def _record(self) -> pathlib.Path:
        return self.runtime_root / f"{self.folder.name}.json"

    def own(self) -> list[processes.Process]:
        """Those that carry our mark and are none of a unit: also one whose record was never written, for we were
        killed before.
        """
        unit = f"llama-fleet-{self.folder.name}.service"
        return [
            found
            for found in processes.started_with(INSTANCE_VARIABLE, str(self.folder))
            if not processes.in_unit(found.pid, unit)
        ]

    def present(self) -> bool:
        return bool(self.own()) or self._record.exists()

    def settled(self, generation: Generation) -> bool:
        """A process has nothing around it but its record."""
        del generation
        record = files.read_json(self._record, RECORD) or {}
        return any(found.pid == record.get("pid") and found.started == record.get("started") for found in self.own())

    def starts_at_boot(self) -> bool:
        """Nobody starts processes at boot here, and there is nothing to be done about it."""
        return True

    def start_at_boot(self) -> None:
        """Nothing to do."""

    def start(self, generation: Generation) -> processes.Process:
        self.stop()
        self.runtime_root.mkdir(parents=True, exist_ok=True)
        environment = {**base_environment(os.environ), **generation.variables}
        descriptor = self._new_log()
        try:
            with unprivileged.handed_over(generation.command, environment, self.user) as handed, _lockable_memory():
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
        """Open a new log; nothing where the disk takes none: better a server without a log than none."""
        log = pathlib.Path(self.log)
        with contextlib.suppress(OSError):
            os.replace(log, log.with_name(f"{log.name}.1"))
        try:
            return os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
        except OSError:
            return os.open(os.devnull, os.O_WRONLY)

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
        for path in (pathlib.Path(self.log), pathlib.Path(f"{self.log}.1")):
            with contextlib.suppress(FileNotFoundError):
                path.unlink()

    def log_lines(self, count: int) -> list[str]:
        try:
            return pathlib.Path(self.log).read_text(encoding="utf-8", errors="replace").splitlines()[-count:]
        except OSError:
            return []
