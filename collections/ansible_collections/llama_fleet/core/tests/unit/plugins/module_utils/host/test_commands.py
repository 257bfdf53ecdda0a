# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import os
import subprocess
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.host import commands, processes
from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import run
from ansible_collections.llama_fleet.core.tests.unit import waiting

if typing.TYPE_CHECKING:
    import pathlib


def test_output_code_and_environment() -> None:
    result = run(["sh", "-c", "echo $A $LC_ALL; echo oops >&2; exit 3"], env={"A": "b"})
    assert (result.code, result.stdout, result.stderr, result.ok) == (3, "b C\n", "oops\n", False)


def test_a_command_that_is_not_there() -> None:
    assert run(["no-such-command-here"]).code == 127


def test_a_command_that_hangs_is_killed() -> None:
    result = run(["sleep", "3600"], timeout=0.2)
    assert (result.code, result.stderr) == (124, "sleep did not end within 0.2 s")


def test_a_command_that_hangs_leaves_no_children(tmp_path: pathlib.Path) -> None:
    # One second is enough for the shell to print its last line; if it were not, the test would pass without checking
    # anything.
    family = "sh -c 'sleep 3600 & echo $! >grandchild; echo $$ >child; wait' & wait"
    assert run(["sh", "-c", family], cwd=str(tmp_path), timeout=1).code == 124
    left = [int((tmp_path / name).read_text(encoding="ascii")) for name in ("child", "grandchild")]
    waiting.until(lambda: not any(processes.find(pid) for pid in left), 20)


def test_a_run_that_is_stopped_leaves_no_children(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(_process: object, timeout: float) -> typing.NoReturn:
        waiting.until(
            lambda: (tmp_path / "child").exists() and (tmp_path / "child").read_text(encoding="ascii"), timeout
        )
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess.Popen, "communicate", stop)
    with pytest.raises(KeyboardInterrupt):
        run(["sh", "-c", "sleep 3600 & echo $! >child; wait"], cwd=str(tmp_path), timeout=30)
    waiting.until(lambda: not processes.find(int((tmp_path / "child").read_text(encoding="ascii"))), 20)


def test_a_signal_is_a_negative_code() -> None:
    assert run(["sh", "-c", "kill -ILL $$"]).code == -4


def test_lines_come_as_they_are_written() -> None:
    lines: list[str] = []
    result = run(["sh", "-c", "echo one; echo two >&2"], on_line=lines.append)
    assert lines == ["one", "two"]
    assert result.stdout == "one\ntwo\n"


def test_a_reader_that_stops_stops_the_command() -> None:
    pids: list[int] = []

    def stop(line: str) -> None:
        pids.append(int(line))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(["sh", "-c", "echo $$; exec sleep 60"], on_line=stop)
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)


def test_a_command_stuck_in_the_kernel_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    wait = subprocess.Popen.wait

    def stuck(process: subprocess.Popen[str], timeout: float | None = None) -> int:
        # A test cannot create an unkillable process, so only the wait for it is made to hang.
        assert timeout is not None
        assert timeout <= 5
        wait(process)
        raise subprocess.TimeoutExpired("sleep", timeout)

    monkeypatch.setattr(subprocess.Popen, "wait", stuck)
    assert run(["sleep", "3600"], timeout=0.2).code == 124


def test_no_command_is_given_a_secret_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_TOKEN", "LLAMA_API_KEY", "GGUF_MODEL_TOKEN"):
        monkeypatch.setenv(name, "s3cr3t")
    monkeypatch.setenv("GITHUB_TOKEN", "theirs")
    output = commands.run(["env"], env={"GIVEN_TOKEN": "given"}).stdout
    assert "s3cr3t" not in output
    assert "GITHUB_TOKEN=theirs" in output, "a git credential helper may need it"
    by_line: list[str] = []
    commands.run(["env"], on_line=by_line.append)
    assert "s3cr3t" not in "".join(by_line)
    compilers = commands.as_user(0, {"HOME": "/w"})(["env"], env={"CCACHE_DIR": "/c"}).stdout.splitlines()
    assert {"HOME=/w", "CCACHE_DIR=/c"} <= set(compilers)
    assert not any("TOKEN" in line for line in compilers)


def test_a_call_has_every_argument_and_hands_on_every_one() -> None:
    lines: list[str] = []
    calls: list[commands.Call] = []

    def execute(call: commands.Call) -> commands.Result:
        calls.append(call)
        return commands.Result(0, "done", "")

    call = commands.Call(["a", "b"], {"A": "1"}, "/tmp", 3.0, lines.append)
    assert call.by(commands.through(execute)).stdout == "done"
    commands.through(execute)(["c"])
    assert calls == [call, commands.Call(["c"], None, None, None, None)]


def test_another_users_runner_keeps_to_the_call(tmp_path: pathlib.Path) -> None:
    run_as = commands.as_user(0, {})
    assert run_as(["pwd"]).stdout == "/\n"
    assert run_as(["pwd"], cwd=str(tmp_path)).stdout == f"{tmp_path}\n"
    assert run_as(["sleep", "3600"], timeout=0.2).code == commands.TIMED_OUT
    lines: list[str] = []
    run_as(["sh", "-c", "echo $LC_ALL"], env={"LC_ALL": "de_DE"}, on_line=lines.append)
    assert lines == ["C"]
