# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import os
import signal
import sys
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.host import files, processes
from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate.gate import GateError
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.process import (
    ProcessRuntime,
    base_environment,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.server.state.generations import Generation
from ansible_collections.llama_fleet.core.plugins.module_utils.untrusted import Plain
from ansible_collections.llama_fleet.core.tests.unit import waiting

if typing.TYPE_CHECKING:
    import pathlib

UNIT = "llama-fleet-default.service"
SLEEPER = [sys.executable, "-IS", "-c", "import time; print('started', flush=True); time.sleep(60)"]


def generation(folder: pathlib.Path, unit: str = "[Unit]\n", command: typing.Sequence[str] = ()) -> Generation:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "unit").write_text(unit, encoding="utf-8")
    return Generation(
        1, folder, {"command": list(command), "environment": {"LLAMA_FLEET_INSTANCE": str(folder.parent)}}
    )


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (0, "llama-server ended with exit status 0"),
        (-9, "llama-server was ended by SIGKILL"),
        (-4, "llama-server was ended by SIGILL: this release uses instructions that this CPU does not have"),
        (-99, "llama-server was ended by signal 99"),
    ],
)
def test_ends_in_words(code: int, words: str) -> None:
    assert processes.ending(code) == words
    if -65 < code <= 0:
        assert processes.ending_of_container(128 - code if code else 0) == words


def test_a_process_gets_no_secrets_of_ours_nor_what_marks_a_runs_own() -> None:
    ours = {
        "PATH": "/bin",
        "HF_TOKEN": "x",
        "LLAMA_FLEET_RUN": "0",
        "LLAMA_ARG_TOOLS": "all",
        "CUDA_VISIBLE_DEVICES": "1",
        "LD_LIBRARY_PATH": "/l",
        "AWS_SECRET": "x",
    }
    assert base_environment(ours) == {
        "PATH": "/bin",
        "CUDA_VISIBLE_DEVICES": "1",
        "LD_LIBRARY_PATH": "/l",
    }


def started(runtime: ProcessRuntime, wanted: Generation) -> processes.Process:
    """Start it, and wait until it has its own environment, which it lacks before its program begins."""
    process = runtime.start(wanted)
    waiting.until(lambda: runtime.log_lines(1) == ["started"])
    return process


def test_a_process_lives_on_logs_and_is_stopped_by_its_mark(tmp_path: pathlib.Path) -> None:
    folder = tmp_path / "default"
    runtime = ProcessRuntime(folder, tmp_path / "run")
    wanted = generation(folder / "1", command=SLEEPER)
    process = started(runtime, wanted)
    assert os.getsid(process.pid) == process.pid
    record = files.read_json(tmp_path / "run" / "default.json", Plain())
    assert record == {"pid": process.pid, "started": process.started, "generation": 1}
    assert runtime.settled(wanted)
    (tmp_path / "run" / "default.json").unlink()
    assert not runtime.settled(wanted)
    assert [found.pid for found in runtime.own()] == [process.pid], "found without its record"
    again = started(runtime, wanted)
    assert processes.find(process.pid) is None
    assert [found.pid for found in runtime.own()] == [again.pid]
    assert (tmp_path / "run" / "default.log.1").exists()
    runtime.stop()
    assert runtime.own() == []
    assert runtime.death(again)
    runtime.remove()
    assert os.listdir(tmp_path / "run") == []


def test_a_process_that_does_not_heed_is_killed_in_the_instances_time(tmp_path: pathlib.Path) -> None:
    runtime = ProcessRuntime(tmp_path / "default", tmp_path / "run", 0.2)
    process = runtime.start(
        generation(
            tmp_path / "default" / "1", command=["sh", "-c", "trap '' TERM; echo deaf; while :; do sleep 1; done"]
        )
    )
    waiting.until(lambda: runtime.log_lines(1) == ["deaf"])
    assert runtime.present()
    runtime.stop()
    assert not processes.alive(process)
    assert not runtime.present()


def test_a_units_process_is_not_stopped_as_a_stray_one(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = ProcessRuntime(tmp_path / "default", tmp_path / "run")
    process = started(runtime, generation(tmp_path / "default" / "1", command=SLEEPER))
    monkeypatch.setattr(processes, "in_unit", lambda _pid, unit: bool(unit == UNIT))
    assert runtime.own() == []
    monkeypatch.undo()
    runtime.stop()
    assert not processes.alive(process)


def test_what_cannot_be_executed_says_so(tmp_path: pathlib.Path) -> None:
    runtime = ProcessRuntime(tmp_path / "default", tmp_path / "run")
    with pytest.raises(GateError, match="cannot be executed: No such file"):
        runtime.start(generation(tmp_path / "default" / "1", command=["/nowhere/llama-server"]))


def test_how_a_process_ended_is_told_though_it_ends_while_it_is_looked_at(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = ProcessRuntime(tmp_path / "default", tmp_path / "run")
    process = runtime.start(generation(tmp_path / "default" / "1", command=["sleep", "60"]))
    alive = processes.alive

    def ends_meanwhile(found: processes.Process) -> bool:
        os.kill(found.pid, signal.SIGKILL)
        waiting.until(lambda: not alive(found))
        return False

    monkeypatch.setattr(processes, "alive", ends_meanwhile)
    assert runtime.death(process) == "llama-server was ended by SIGKILL"
