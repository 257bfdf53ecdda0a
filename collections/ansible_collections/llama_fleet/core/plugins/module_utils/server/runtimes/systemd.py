# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Run an instance as a unit of the system's systemd."""

from __future__ import annotations

import dataclasses
import pathlib
import time
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.host import files, processes
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem
from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate.gate import GateError
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes import host_files as server_mounts
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes import requirements as requirement
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes import unit_file as server_unit
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.host import UNIT_ROOT
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import limits as server_limits
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import router as server_router
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.options import INSTANCE_VARIABLE

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import Runner
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.host import Place, RuntimeHost
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.runtime import Report
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.options import Options
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.state.generations import Generation

_SHOWN = "LoadState,ActiveState,FragmentPath,MainPID,NeedDaemonReload,ExecMainCode,ExecMainStatus,Result,MemoryMax"
# Seconds that systemd may take to note an end, and the ExecMainCode of an end that it has not noted.
_NOTED, _NOT_NOTED = 5.0, "0"


def out_of_memory(state: typing.Mapping[str, str]) -> str:
    """Return in words that the process ended because of its memory limit; empty if it did not.

    With control groups of version 1, systemd sees no more than the signal.
    """
    limit = state.get("MemoryMax", "")
    limited = f"llama_server_memory_max, {int(limit) >> 20} MiB" if limit.isdigit() and int(limit) < 1 << 62 else ""
    if state.get("Result") == "oom-kill":
        return f": it wanted more memory than {limited or 'the host has'}"
    killed = state.get("Result") == "signal" and state.get("ExecMainStatus") in ("9", "137")
    return f": that is what the kernel does to one that wants more memory than {limited}" if killed and limited else ""


@dataclasses.dataclass
class SystemdRuntime:
    """A systemd unit."""

    folder: pathlib.Path
    unit: str
    run: Runner
    unit_root: pathlib.Path = UNIT_ROOT
    name: typing.ClassVar[str] = "systemd"
    automatic: typing.ClassVar[bool] = True
    needs_systemd: typing.ClassVar[bool] = True
    needs_gate_port: typing.ClassVar[bool] = False
    own_control_group: typing.ClassVar[bool] = True
    engine: typing.ClassVar[str] = ""
    asks_daemon: typing.ClassVar[bool] = False
    installs: typing.ClassVar[str] = "unit"
    memory_lock_fix: typing.ClassVar[str] = "look for LimitMEMLOCK in the unit's overrides"

    @classmethod
    def at(cls, place: Place, options: Options | None = None) -> SystemdRuntime:
        del options
        return cls(place.folder, place.unit, place.host.run, place.host.unit_root)

    @staticmethod
    def render(options: Options, command: typing.Sequence[str], variables: typing.Mapping[str, str]) -> dict[str, str]:
        return {"unit": server_unit.render(options, command, variables)}

    @staticmethod
    def requirements(options: Options, host: RuntimeHost, report: Report | None) -> list[Problem]:
        del report
        problems = [*server_limits.limit_problems(options), *_rights(host.euid), *_invisible(options)]
        if host.systemd:
            return problems
        wanted, fix = "a runtime that this host has", "use process or auto"
        return [*problems, Problem(requirement.RUNTIME, "systemd, which is not PID 1 here", wanted, fix)]

    @staticmethod
    def remarks(options: Options) -> list[str]:
        del options
        return []

    @staticmethod
    def runner(options: Options, run: Runner, inside: bool) -> Runner:
        del options, inside
        return run

    @property
    def path(self) -> pathlib.Path:
        """The file that makes the unit."""
        return self.unit_root / self.unit

    @property
    def log(self) -> str:
        return f"journalctl -u {self.unit}"

    def show(self) -> dict[str, str]:
        return dict(
            line.split("=", 1)
            for line in self.run(["systemctl", "show", "-p", _SHOWN, self.unit]).stdout.splitlines()
            if "=" in line
        )

    def own(self) -> list[processes.Process]:
        return processes.started_with(INSTANCE_VARIABLE, str(self.folder))

    def main_pid(self) -> int:
        return int(self.show().get("MainPID") or 0)

    def is_up(self) -> bool:
        return bool(self.own()) or self._active(self.show()) or self.starts_at_boot()

    def recorded(self) -> bool:
        return self.starts_at_boot()

    def recorded_process(self, proc: pathlib.Path) -> processes.Process | None:
        pid = self.main_pid()
        return processes.find(pid, proc) if pid else None

    def present(self) -> bool:
        """Return whether there is a unit of ours: one that podman's generator made has its file elsewhere."""
        if self.path.exists():
            return True
        state = self.show()
        return self._active(state) and state.get("FragmentPath", "").startswith(f"{self.unit_root}/")

    def settled(self, generation: Generation) -> bool:
        return self._installed() == generation.text("unit")

    def starts_at_boot(self) -> bool:
        """Ask is-enabled, which reads the files: systemd itself remembers the state before its last reload."""
        return self.run(["systemctl", "is-enabled", self.unit]).ok

    def start_at_boot(self) -> None:
        self.run(["systemctl", "enable", "--no-reload", self.unit])

    def start(self, generation: Generation) -> processes.Process:
        self._install(generation.text("unit"))
        self.run(["systemctl", "reset-failed", self.unit])
        done = self.run(["systemctl", "restart", self.unit])
        process = self._main_process()
        if not done.ok or process is None:
            raise GateError(self._refused(done.stderr.strip()) if not done.ok else self._ending())
        return process

    def reinstall(self, text: str) -> None:
        """Install a text of the unit that counts from the next start on; the server that runs goes on."""
        self._install(text)

    def files(self) -> list[pathlib.Path]:
        return [self.path]

    def writes(self, generation: Generation) -> list[tuple[pathlib.Path, int]]:
        text = generation.text("unit")
        return [(self.path, len(text.encode()))] if self._installed() != text else []

    def _refused(self, said: str) -> str:
        """Return why it did not start: how its process ended, or what systemd said if there was none."""
        return self._ending() if int(self.show().get("ExecMainStatus") or 0) or not said else said

    def _main_process(self) -> processes.Process | None:
        return processes.find(self.main_pid())

    def _install(self, text: str) -> None:
        changed = self._installed() != text
        if changed:
            files.write_atomic(self.path, text)
        if not self.starts_at_boot():
            self.start_at_boot()
        # A reload can take the GPUs from running containers: never without need.
        if changed or self._needs_reload(self.show()):
            self.run(["systemctl", "daemon-reload"])

    @staticmethod
    def _active(state: typing.Mapping[str, str]) -> bool:
        return state.get("ActiveState") not in ("inactive", "failed", None)

    @staticmethod
    def _needs_reload(state: typing.Mapping[str, str]) -> bool:
        return state.get("NeedDaemonReload") == "yes"

    def _installed(self) -> str:
        try:
            return self.path.read_text(encoding="utf-8")
        except OSError:
            return ""

    def death(self, process: processes.Process) -> str:
        return "" if processes.alive(process) else self._ending()

    def _after_its_end(self) -> dict[str, str]:
        """Return systemd's state of the main process, which has ended; systemd notes it a moment after the kernel."""
        end = time.monotonic() + _NOTED
        state = self.show()
        while state.get("ExecMainCode") == _NOT_NOTED and time.monotonic() < end:
            time.sleep(0.05)
            state = self.show()
        return state

    def _ending(self) -> str:
        state = self._after_its_end()
        if state.get("ExecMainCode") == _NOT_NOTED:
            return "llama-server has ended, and systemd does not say how"
        status = int(state.get("ExecMainStatus") or 0)
        # ExecMainCode as siginfo has it: 1 is an exit, more is a signal.
        return processes.ending(status if state.get("ExecMainCode") == "1" else -status) + out_of_memory(state)

    def stop(self) -> None:
        self.run(["systemctl", "disable", "--no-reload", self.unit])
        self.run(["systemctl", "stop", self.unit])
        self.run(["systemctl", "reset-failed", self.unit])

    def remove(self) -> None:
        if self.path.exists():
            self.path.unlink()
            self.run(["systemctl", "daemon-reload"])

    def log_lines(self, count: int) -> list[str]:
        self.run(["journalctl", "--sync"])
        return self.run(
            ["journalctl", "-u", self.unit, "-n", str(count), "--no-pager", "-o", "cat"]
        ).stdout.splitlines()


def _rights(euid: int) -> list[Problem]:
    if euid == 0:
        return []
    no_root, wanted = f"systemd, and this user (uid {euid})", "root for a systemd unit"
    return [Problem(requirement.RUNTIME, no_root, wanted, "run with become or sudo, or use process")]


def _invisible(options: Options) -> list[Problem]:
    """Return the files that the unit's user, who has no rights and sees no home folders, cannot read."""
    places = [("llama_server_release", str(options.server))] if options.release else []
    places += server_mounts.public(options)
    places += [("llama_server_extra_options", path) for path in server_router.places(options).values()]
    problems = (server_unit.unreadable(pathlib.Path(path), variable) for variable, path in places)
    return [problem for problem in problems if problem]
