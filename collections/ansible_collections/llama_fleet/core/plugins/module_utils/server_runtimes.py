# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The two ways an instance is kept running: a systemd unit, or a process of its own session."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import signal
import subprocess
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils import files, processes
from ansible_collections.llama_fleet.core.plugins.module_utils.server_gate import GateError
from ansible_collections.llama_fleet.core.plugins.module_utils.server_options import INSTANCE_VARIABLE

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.commands import Runner
    from ansible_collections.llama_fleet.core.plugins.module_utils.generations import Generation

STOP_SECONDS = 15.0
UNIT_ROOT = pathlib.Path("/etc/systemd/system")
# What a server may need of its surroundings; everything else, secrets and stray LLAMA_ARG_* alike, stays out.
_PASSED_ON = ("PATH", "HOME", "LANG", "TZ", "LD_LIBRARY_PATH")
_PASSED_ON_PREFIXES = ("CUDA_", "NVIDIA_")


class Runtime(typing.Protocol):
    """Keeps one instance running."""

    name: str

    @property
    def log(self) -> str:
        """Where the server's log is: a file, or the command that shows it."""

    def own(self) -> list[processes.Process]:
        """The instance's living processes, whoever started them."""

    def settled(self, generation: Generation) -> bool:
        """Whether what surrounds the process is as the generation wants it."""

    def starts_at_boot(self) -> bool:
        """Whether the instance comes back after a boot, as far as this runtime can make it."""

    def start_at_boot(self) -> None:
        """Make it come back after a boot."""

    def start(self, generation: Generation) -> processes.Process:
        """Replace what runs by ``generation``. GateError where it does not even start."""

    def death(self, process: processes.Process) -> str:
        """Why ``process`` ended; empty while it lives."""

    def stop(self) -> None:
        """Stop the instance, now and at boot."""

    def remove(self) -> None:
        """Remove what was put outside of the instance's folder."""

    def log_lines(self, count: int) -> list[str]:
        """The last lines that the server logged."""


def has_systemd(root: pathlib.Path = pathlib.Path("/")) -> bool:
    """Whether systemd is PID 1 here."""
    return (root / "run/systemd/system").is_dir() and processes.name(1, root / "proc") == "systemd"


def base_environment(environment: typing.Mapping[str, str]) -> dict[str, str]:
    """What of our own environment a server is given."""
    return {name: value for name, value in environment.items() if name in _PASSED_ON or name.startswith(_PASSED_ON_PREFIXES)}


@dataclasses.dataclass
class SystemdRuntime:
    """A unit of the system's systemd."""

    folder: pathlib.Path
    unit: str
    run: Runner
    unit_root: pathlib.Path = UNIT_ROOT
    name: str = "systemd"

    @property
    def log(self) -> str:
        return f"journalctl -u {self.unit}"

    def show(self) -> dict[str, str]:
        wanted = "ActiveState,MainPID,NeedDaemonReload,ExecMainCode,ExecMainStatus"
        return dict(line.split("=", 1) for line in self.run(["systemctl", "show", "-p", wanted, self.unit]).stdout.splitlines() if "=" in line)

    def own(self) -> list[processes.Process]:
        return processes.started_with(INSTANCE_VARIABLE, str(self.folder))

    def main_pid(self) -> int:
        return int(self.show().get("MainPID") or 0)

    def active_or_enabled(self) -> bool:
        return self.show().get("ActiveState") not in ("inactive", "failed", None) or self.starts_at_boot()

    def settled(self, generation: Generation) -> bool:
        return self._installed() == generation.text("unit")

    def starts_at_boot(self) -> bool:
        """Asked of the files, for systemd itself remembers what was before its last reload."""
        return self.run(["systemctl", "is-enabled", self.unit]).ok

    def start_at_boot(self) -> None:
        self.run(["systemctl", "enable", "--no-reload", self.unit])

    def start(self, generation: Generation) -> processes.Process:
        self._install(generation.text("unit"))
        self.run(["systemctl", "reset-failed", self.unit])
        done = self.run(["systemctl", "restart", self.unit])
        process = processes.find(self.main_pid())
        if not done.ok or process is None:
            raise GateError(self._ending() or done.stderr.strip())
        return process

    def _install(self, text: str) -> None:
        path = self.unit_root / self.unit
        changed = self._installed() != text
        if changed:
            files.write_atomic(path, text)
        if not self.starts_at_boot():
            self.start_at_boot()
        # A reload can take the GPUs from running containers: never without need.
        if changed or self.show().get("NeedDaemonReload") == "yes":
            self.run(["systemctl", "daemon-reload"])

    def _installed(self) -> str:
        try:
            return (self.unit_root / self.unit).read_text(encoding="utf-8")
        except OSError:
            return ""

    def death(self, process: processes.Process) -> str:
        return "" if processes.alive(process) else self._ending()

    def _ending(self) -> str:
        state = self.show()
        status = int(state.get("ExecMainStatus") or 0)
        # ExecMainCode as siginfo has it: 1 is an exit, more is a signal.
        return ending(status if state.get("ExecMainCode") == "1" else -status)

    def stop(self) -> None:
        self.run(["systemctl", "disable", "--no-reload", self.unit])
        self.run(["systemctl", "stop", self.unit])
        self.run(["systemctl", "reset-failed", self.unit])

    def remove(self) -> None:
        path = self.unit_root / self.unit
        if path.exists():
            path.unlink()
            self.run(["systemctl", "daemon-reload"])

    def log_lines(self, count: int) -> list[str]:
        self.run(["journalctl", "--sync"])
        return self.run(["journalctl", "-u", self.unit, "-n", str(count), "--no-pager", "-o", "cat"]).stdout.splitlines()


@dataclasses.dataclass
class ProcessRuntime:
    """A process that outlives us, in a session of its own, for machines without systemd."""

    folder: pathlib.Path
    runtime_root: pathlib.Path
    name: str = "process"
    _children: dict[int, subprocess.Popen[bytes]] = dataclasses.field(default_factory=dict)

    @property
    def log(self) -> str:
        return str(self.runtime_root / f"{self.folder.name}.log")

    @property
    def _record(self) -> pathlib.Path:
        return self.runtime_root / f"{self.folder.name}.json"

    def own(self) -> list[processes.Process]:
        """Those that carry our mark: also one whose record was never written, for we were killed before."""
        return processes.started_with(INSTANCE_VARIABLE, str(self.folder))

    def settled(self, generation: Generation) -> bool:
        """A process has nothing around it but its record."""
        del generation
        record = files.read_json(self._record) or {}
        return any(found.pid == record.get("pid") and found.started == record.get("started") for found in self.own())

    def starts_at_boot(self) -> bool:
        """Nobody starts processes at boot here, and there is nothing to be done about it."""
        return True

    def start_at_boot(self) -> None:
        """Nothing to do."""

    def start(self, generation: Generation) -> processes.Process:
        self.stop()
        self.runtime_root.mkdir(parents=True, exist_ok=True)
        log = pathlib.Path(self.log)
        with contextlib.suppress(FileNotFoundError):
            os.replace(log, log.with_name(f"{log.name}.1"))
        environment = {**base_environment(os.environ), **generation.variables}
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
        try:
            child = subprocess.Popen(  # pylint: disable=ansible-bad-function  # because run_command waits for the end, and this process is to stay
                generation.command,
                env=environment,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=descriptor,
                stderr=descriptor,
                start_new_session=True,
            )
        except OSError as error:
            raise GateError(f"{generation.command[0]} cannot be executed: {error.strerror}") from error
        finally:
            os.close(descriptor)
        self._children[child.pid] = child
        process = processes.find(child.pid)
        if process is None:
            raise GateError(ending(child.wait()))
        files.write_json(self._record, {"pid": process.pid, "started": process.started, "generation": generation.number})
        return process

    def death(self, process: processes.Process) -> str:
        if processes.alive(process):
            return ""
        child = self._children.get(process.pid)
        return ending(child.wait()) if child is not None else "llama-server ended"

    def stop(self) -> None:
        for process in self.own():
            processes.stop(process, STOP_SECONDS)
        for child in self._children.values():
            child.poll()
        with contextlib.suppress(FileNotFoundError):
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


def ending(code: int) -> str:
    """How llama-server ended, in words; a negative ``code`` is a signal."""
    if code >= 0:
        return f"llama-server ended with exit status {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    hint = ": this release uses instructions that this CPU does not have" if name == "SIGILL" else ""
    return f"llama-server was ended by {name}{hint}"
