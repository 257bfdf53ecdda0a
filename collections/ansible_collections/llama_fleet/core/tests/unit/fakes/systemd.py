# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""A Runner whose systemctl knows one unit, and starts what that says; every other command is run."""

from __future__ import annotations

import contextlib
import os
import pathlib
import subprocess
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.host import commands
from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import Result
from ansible_collections.llama_fleet.core.plugins.module_utils.host.systemd_text import (
    parse_command_line,
    parse_environment_file,
)


class FakeSystemd:
    """``asked`` are the verbs it was called with, without those that only look."""

    def __init__(self, unit_root: pathlib.Path) -> None:
        self.unit_root = unit_root
        self.process: subprocess.Popen[bytes] | None = None
        self.enabled = False
        self.asked: list[str] = []

    def __call__(
        self,
        command: typing.Sequence[str],
        env: typing.Mapping[str, str] | None = None,
        cwd: str | None = None,
        timeout: float | None = None,
        on_line: typing.Callable[[str], None] | None = None,
    ) -> Result:
        if command[0] == "journalctl":
            return Result(0, "", "")
        if command[0] != "systemctl":
            return commands.run(command, env, cwd, timeout, on_line)
        verb = command[1]
        if verb not in ("show", "is-enabled", "reset-failed"):
            self.asked.append(verb)
        answer: typing.Callable[[], Result] | None = getattr(self, f"_{verb.replace('-', '_')}", None)
        return answer() if answer else Result(0, "", "")

    @property
    def pid(self) -> int:
        return self.process.pid if self.process and self.process.poll() is None else 0

    def _unit(self) -> dict[str, str]:
        (path,) = self.unit_root.glob("*.service")
        return dict(line.split("=", 1) for line in path.read_text(encoding="utf-8").splitlines() if "=" in line)

    def _show(self) -> Result:
        there = any(self.unit_root.glob("*.service"))
        code = self.process.poll() if self.process else None
        shown = {
            "LoadState": "loaded" if there else "not-found",
            "ActiveState": "active" if self.pid else "inactive",
            "FragmentPath": f"{self.unit_root}/x.service" if there else "",
            "MainPID": self.pid,
            "NeedDaemonReload": "no",
            "ExecMainCode": 1 if code is None or code >= 0 else 2,
            "ExecMainStatus": abs(code or 0),
        }
        return Result(0, "".join(f"{name}={value}\n" for name, value in shown.items()), "")

    def _is_enabled(self) -> Result:
        return Result(0 if self.enabled else 1, "", "")

    def _enable(self) -> Result:
        self.enabled = True
        return Result(0, "", "")

    def _disable(self) -> Result:
        self.enabled = False
        return Result(0, "", "")

    def _stop(self) -> Result:
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
            self.process.wait()
        return Result(0, "", "")

    def _restart(self) -> Result:
        self._stop()
        unit = self._unit()
        variables = parse_environment_file(pathlib.Path(unit["EnvironmentFile"]).read_text(encoding="utf-8"))
        self.process = subprocess.Popen(
            parse_command_line(unit["ExecStart"]),
            env={"PATH": os.environ["PATH"], **variables},
            stderr=subprocess.DEVNULL,
        )
        return Result(0, "", "")
