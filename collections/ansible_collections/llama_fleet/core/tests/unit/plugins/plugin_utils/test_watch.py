# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import subprocess

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.progress import VARIABLE, Snapshot, from_line
from ansible_collections.llama_fleet.core.plugins.plugin_utils import watch as watch_of_a_job
from ansible_collections.llama_fleet.core.plugins.plugin_utils.watch import ALIVE, RESULT, Job, Reporter, Watch


def output(pid: int = 0, alive: bool = True, result: str = "") -> str:
    progress = json.dumps({"stage": "building", "pid": pid}) if pid else ""
    return f"{ALIVE if alive else ''}\n{progress}\n{RESULT}\n{result}"


@pytest.fixture
def watch() -> Watch:
    return Watch(Job("gguf_model", "/jobs/progress folder/progress.json", "/jobs/results"), Reporter("host"))


def test_a_running_job_has_no_result(watch: Watch) -> None:
    assert watch.read(output(7, result='{"started": true}')) == ({"started": True}, False)
    assert watch.read(output(7)) == ({}, False)


def test_the_result_is_what_the_module_left(watch: Watch) -> None:
    assert watch.read(output(7, result='{"changed": true}')) == ({"changed": True}, False)


def test_a_job_is_lost_only_when_several_polls_say_so(watch: Watch) -> None:
    gone = [watch.read(output(7, alive=False))[1] for _poll in range(watch_of_a_job.POLLS_GONE + 1)]
    assert gone == [False] * watch_of_a_job.POLLS_GONE + [True]


def test_the_commands_run_in_a_plain_shell(watch: Watch) -> None:
    watch.read(output(4_194_304))
    shell = subprocess.run(["sh", "-c", watch.poll_command()], capture_output=True, text=True, check=False)
    assert ALIVE not in shell.stdout
    assert RESULT in shell.stdout
    assert watch.stop_command() == "kill 4194304"
    assert watch.clean_command() == "rm -rf '/jobs/progress folder'; rm -f /jobs/results"


def test_a_new_stage_is_shown_at_once_and_the_same_one_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    clock = [0.0]
    monkeypatch.setattr(watch_of_a_job.display, "display", lines.append)
    monkeypatch.setattr(watch_of_a_job.time, "monotonic", lambda: clock[0])
    reporter = Reporter("h1")
    for moment, snapshot in [
        (0.0, Snapshot("building", 1, 4)),
        (0.5, Snapshot("building", 2, 4)),
        (2.5, Snapshot("building", 3, 4)),
        (2.6, Snapshot("testing")),
        (9.0, Snapshot("testing")),
    ]:
        clock[0] = moment
        reporter.show(snapshot)
    assert lines == ["[h1] building: 25 %, [1/4]", "[h1] building: 75 %, [3/4]", "[h1] testing"]


def test_a_program_gets_one_line_of_json_a_snapshot(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    monkeypatch.setattr(watch_of_a_job.display, "display", lines.append)
    monkeypatch.setenv(VARIABLE, "json")
    snapshot = Snapshot("building\n\x1b[2J", 1, 4, elapsed=2.0, pid=7)
    Reporter("h1/chat", "llama_cpp").show(snapshot)
    assert lines[0].isprintable()
    assert from_line(lines[0]) == (
        "h1/chat",
        Snapshot("building\n\\x1b[2J", 1, 4, elapsed=2.0, pid=7),
        "llama_cpp",
    )


def test_a_stage_of_a_hostile_host_is_one_printable_line(monkeypatch: pytest.MonkeyPatch, watch: Watch) -> None:
    lines: list[str] = []
    monkeypatch.setattr(watch_of_a_job.display, "display", lines.append)
    stage = json.dumps(
        {
            "stage": "a\x1b[2J\n[good] stage",
            "done": 1,
            "total": 2,
            "unit": "steps",
            "elapsed": 0.5,
            "pid": 7,
            "before": 0,
        }
    )
    watch.read(f"{ALIVE}\n{stage}\n{RESULT}\n")
    assert lines == [r"[host] a\x1b[2J\n[good] stage: 50 %, [1/2], 0 s left"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"pid": "1; touch /tmp/x"},
        {"pid": -1},
        {"done": 1e300},
        {"total": "x"},
        {"unit": "x"},
        {"elapsed": "x"},
        {"stage": []},
    ],
)
def test_progress_of_another_shape_is_none(watch: Watch, wrong: dict[str, object]) -> None:
    watch.read(f"{ALIVE}\n{json.dumps({'stage': 'x', **wrong})}\n{RESULT}\n")
    assert watch.stop_command() == "true"


@pytest.mark.parametrize("result", ["[]", "7", '"x"', "[" * 100_000])
def test_a_result_of_another_shape_is_a_failure_or_none(watch: Watch, result: str) -> None:
    content, gone = watch.read(output(7, result=result))
    assert isinstance(content, dict)
    assert not gone
