# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import dataclasses
import os
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.host import processes
from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import Result
from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate.gate import GateError
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes import systemd as runtime_systemd
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.systemd import SystemdRuntime
from ansible_collections.llama_fleet.core.plugins.module_utils.server.state.generations import Generation

if typing.TYPE_CHECKING:
    import pathlib

UNIT = "llama-fleet-default.service"


@dataclasses.dataclass
class Systemctl:
    """Remembers what systemd was told, and answers as it would."""

    pid: int = 0
    enabled: bool = False
    needs_reload: bool = False
    status: str = "0"
    refusal: str = ""
    told: list[str] = dataclasses.field(default_factory=list)

    def __call__(
        self,
        command: typing.Sequence[str],
        env: typing.Mapping[str, str] | None = None,
        cwd: str | None = None,
        timeout: float | None = None,
        on_line: typing.Callable[[str], None] | None = None,
    ) -> Result:
        del env, cwd, timeout, on_line
        verb = command[1]
        if verb == "show":
            state = "active" if self.pid else "inactive"
            reload = "yes" if self.needs_reload else "no"
            return Result(
                0,
                f"ActiveState={state}\nMainPID={self.pid}\nNeedDaemonReload={reload}\n"
                f"ExecMainCode=1\nExecMainStatus={self.status}\n",
                "",
            )
        if verb == "is-enabled":
            return Result(0 if self.enabled else 1, "", "")
        self.told.append(verb)
        self.enabled = verb == "enable" or (self.enabled and verb != "disable")
        return Result(1, "", self.refusal) if self.refusal and verb == "restart" else Result(0, "", "")


def generation(folder: pathlib.Path, unit: str = "[Unit]\n", command: typing.Sequence[str] = ()) -> Generation:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "unit").write_text(unit, encoding="utf-8")
    return Generation(
        1, folder, {"command": list(command), "environment": {"LLAMA_FLEET_INSTANCE": str(folder.parent)}}
    )


def systemd(folder: pathlib.Path, systemctl: Systemctl) -> SystemdRuntime:
    (folder / "system").mkdir()
    return SystemdRuntime(folder, UNIT, systemctl, folder / "system")


def test_a_unit_is_written_enabled_and_started_and_reloads_only_when_it_changed(tmp_path: pathlib.Path) -> None:
    systemctl = Systemctl(pid=os.getpid())
    runtime = systemd(tmp_path, systemctl)
    wanted = generation(tmp_path / "1")
    assert not runtime.settled(wanted)
    assert not runtime.starts_at_boot()
    assert runtime.start(wanted).pid == os.getpid()
    assert systemctl.told == ["enable", "daemon-reload", "reset-failed", "restart"]
    assert runtime.settled(wanted)
    assert runtime.starts_at_boot()
    systemctl.told.clear()
    runtime.start(wanted)
    assert systemctl.told == ["reset-failed", "restart"]
    systemctl.told.clear()
    systemctl.needs_reload = True
    runtime.start(wanted)
    assert "daemon-reload" in systemctl.told, "a run that was killed before it reloaded is made good"
    runtime.remove()
    assert os.listdir(tmp_path / "system") == []


@pytest.mark.parametrize(("status", "words"), [("203", "exit status 203"), ("1", "exit status 1")])
def test_a_unit_that_does_not_start_says_why(tmp_path: pathlib.Path, status: str, words: str) -> None:
    with pytest.raises(GateError, match=words):
        systemd(tmp_path, Systemctl(status=status)).start(generation(tmp_path / "1"))


class Late(Systemctl):
    """Has not taken note of an end when it is asked for the first time."""

    def __call__(self, command: typing.Sequence[str], **more: typing.Any) -> Result:
        if command[1] != "show":
            return super().__call__(command, **more)
        self.told.append("show")
        noted = "ExecMainCode=2\nExecMainStatus=9\nResult=oom-kill\n"
        unknown = "ExecMainCode=0\nExecMainStatus=0\nResult=success\n"
        return Result(0, f"MainPID=0\nMemoryMax={64 << 20}\n{noted if self.told.count('show') > 2 else unknown}", "")


def test_an_end_is_told_once_systemd_has_noted_it(tmp_path: pathlib.Path) -> None:
    gone = processes.Process(2**22 + 1, 1)
    words = systemd(tmp_path, Late()).death(gone)
    assert words == "llama-server was ended by SIGKILL: it wanted more memory than llama_server_memory_max, 64 MiB"


def test_an_end_that_systemd_never_notes_is_not_told_as_a_good_one(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime_systemd, "_NOTED", 0.0)
    assert (
        systemd(tmp_path, Late()).death(processes.Process(2**22 + 1, 1))
        == "llama-server has ended, and systemd does not say how"
    )


def test_a_unit_whose_preparations_fail_says_so_in_systemds_words(tmp_path: pathlib.Path) -> None:
    refusal = "Job for llama-fleet-default.service failed because the control process exited with error code.\n"
    with pytest.raises(GateError, match=r"^Job for .* the control process exited with error code\.$"):
        systemd(tmp_path, Systemctl(refusal=refusal)).start(generation(tmp_path / "1"))


NO_LIMIT, LIMIT = "infinity", str(64 << 20)
KERNEL = ": that is what the kernel does to one that wants more memory than llama_server_memory_max, 64 MiB"


@pytest.mark.parametrize(
    ("result", "status", "limit", "words"),
    [
        ("oom-kill", "9", LIMIT, ": it wanted more memory than llama_server_memory_max, 64 MiB"),
        ("oom-kill", "9", NO_LIMIT, ": it wanted more memory than the host has"),
        ("signal", "9", LIMIT, KERNEL),
        ("exit-code", "137", LIMIT, ""),
        ("signal", "137", str(2**64 - 1), ""),
        ("signal", "9", NO_LIMIT, ""),
        ("signal", "11", LIMIT, ""),
        ("timeout", "9", LIMIT, ""),
    ],
)
def test_an_end_for_its_memory_is_told_as_one(result: str, status: str, limit: str, words: str) -> None:
    assert runtime_systemd.out_of_memory({"Result": result, "ExecMainStatus": status, "MemoryMax": limit}) == words
