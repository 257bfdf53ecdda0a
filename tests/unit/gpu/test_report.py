# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""tests/gpu/report: its tables of good results, of runs without a GPU and of files that are cut, and its refusals."""

from __future__ import annotations

import json
import subprocess
import typing

import pytest

from tests.gpu import report, results
from tests.unit.gpu.report_case import INSTANCE, ROOT, RUN, Lines, case, good, set_instance, set_memory, start, write

if typing.TYPE_CHECKING:
    import pathlib


def test_good_results_are_tables(tmp_path: pathlib.Path) -> None:
    done = start(write(tmp_path, good()))
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    about = (
        "`tests/gpu/run`, 2026-11-29, NVIDIA H200 (143771 MiB), driver 580.95.05, 16 cores, 128 GiB of RAM, "
        "x86_64 6.8.0, llama.cpp b11434"
    )
    assert lines[:2] == ["## On a GPU", ""]
    assert lines[2].startswith(about)
    assert "| 8b-Q8_0 | 7.50 G, 8.00 GB | CUDA0 | 16 x 768 | 9900 | 10500 | 520 | -0.8 % | 4.2 |" in lines
    assert "| 8b-Q8_0 | on | f16 | 1 | 9000.0 | 150.0 | 9500.0 | 160.0 |" in lines
    assert "| 8b-Q8_0 | on | f16 | 16 | 12000.0 | 1500.0 |  |  |" in lines
    assert "| release | done | 15.1 |" in lines
    assert "| speed-ways | not begun: needs 40 s, and 12 s are left | 0.0 |" in lines
    assert "| nothing to do, 1 | 0 | 4 | 6.2 | 5.5 |" in lines
    assert "| a restart | 1.50 |" in lines
    assert "Without a GPU" not in done.stdout


@pytest.mark.parametrize("mode", ["cpu", "recorded"])
def test_a_run_without_a_gpu_says_so_and_is_not_asked_about_one(tmp_path: pathlib.Path, mode: str) -> None:
    lines = good()
    lines[0]["run"].update(mode=mode, gpus=[])
    set_instance(lines, device="cpu", opened=[])
    set_memory(lines, error_percent=39.1)
    lines.append({"phase": "instance", "values": {"not_seen": "GPU memory against its plan"}})
    done = start(write(tmp_path, lines))
    assert (done.returncode, done.stderr) == (0, "")
    assert "**Without a GPU: a try of the run itself" in done.stdout
    assert "Not seen: GPU memory against its plan." in done.stdout
    # What went wrong went wrong there too.
    lines[5].update(outcome="failed", reason="no answer")
    done = start(write(tmp_path, lines))
    assert (done.returncode, done.stderr) == (
        1,
        "tests/gpu/report: results.jsonl: the phase instance failed: no answer\n",
    )


def test_a_line_that_is_cut_is_told_and_the_rest_counts(tmp_path: pathlib.Path) -> None:
    file = write(tmp_path, good(), end='\n{"phase": "speed-ways", "val')
    done = start(file)
    assert done.returncode == 0
    assert done.stderr == (
        "tests/gpu/report: results.jsonl: 1 of its lines is cut off, as a run leaves it that is killed; the rest "
        "counts\n"
    )
    assert "| 8b-Q8_0 | on | f16 | 1 | 9000.0 |" in done.stdout
    # A second call has gone on behind it.
    file.write_text(
        file.read_text(encoding="utf-8")
        + "\n"
        + json.dumps({"phase": "speed-ways", "outcome": "done", "reason": "", "seconds": 9}),
        encoding="utf-8",
    )
    found = results.read(file)
    assert (found.cut, found.outcomes["speed-ways"]["outcome"]) == (1, "done")


def test_what_was_repeated_counts_as_it_was_last(tmp_path: pathlib.Path) -> None:
    lines = good()
    better = {**INSTANCE, "ready_seconds": 3.0}
    lines += [
        {"phase": "instance", "values": better},
        {"phase": "speed", "values": case("llama-server", 1, 9100.0, 155.0)},
    ]
    found = results.read(write(tmp_path, lines))
    assert [one["ready_seconds"] for one in found.instances.values()] == [3.0]
    assert [
        each["generated_tokens_per_second"]
        for each in found.cases
        if each["by"] == "llama-server" and each["clients"] == 1
    ] == [155.0]
    assert len(found.cases) == 3


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (
            [{"phase": "speed", "outcome": "done", "reason": "", "seconds": 1}],
            "results.jsonl has no line that begins a run; it is no file of tests/gpu/run",
        ),
        ([{"run": RUN}, {"run": {**RUN, "mode": "cpu"}}], "results.jsonl mixes runs of the modes cpu, gpu"),
        (
            [{"run": {**RUN, "mode": "tpu"}}],
            "line 1 of results.jsonl.run.mode is 'tpu', expected a text like gpu|cpu|recorded",
        ),
        (
            [{"run": RUN}, {"phase": "../x"}],
            "line 2 of results.jsonl.phase is '../x', expected a text like [a-z][a-z0-9-]{0,40}",
        ),
        ([{"run": RUN}, {"phase": "instance", "values": 7}], "line 2 of results.jsonl.values is 7, expected an object"),
        (
            [{"run": RUN}, {"phase": "speed", "values": {**case("llama-server", 1, 1, 1), "clients": True}}],
            "values.clients is True, expected a whole number",
        ),
        (
            [{"run": RUN}, {"phase": "speed", "values": case("llama-server", 1, float("nan"), 1)}],
            "prompt_tokens_per_second is nan, expected a number",
        ),
    ],
)
def test_what_is_no_result_is_refused_in_a_sentence(tmp_path: pathlib.Path, lines: Lines, told: str) -> None:
    done = start(write(tmp_path, lines))
    assert (done.returncode, done.stdout) == (report.WRONG_USE, "")
    assert done.stderr.count("\n") == 1
    assert told in done.stderr


def test_a_list_a_missing_and_a_huge_file(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "results.jsonl"
    file.write_text("[1]\n", encoding="utf-8")
    done = start(file)
    assert (done.returncode, done.stderr) == (
        2,
        "tests/gpu/report: line 1 of results.jsonl is a list, expected an object\n",
    )
    done = start(tmp_path / "absent")
    assert done.returncode == 2
    assert "No such file" in done.stderr
    monkeypatch.setattr(results, "LARGEST", 100)
    with pytest.raises(results.ResultsError, match="is longer than 100 bytes"):
        results.read(write(tmp_path, good()))


def test_nothing_of_a_file_becomes_markup_or_a_command_of_the_terminal(tmp_path: pathlib.Path) -> None:
    lines = good()
    lines[0]["run"]["gpus"][0].update({"name": "H200 | <b>x</b> [a](http://b)", "memory.total": "[N/A]"})
    lines[5].update(outcome="failed", reason="\x1b[31mred\x07")
    done = start(write(tmp_path, lines))
    assert "H200 b x /b a (http://b) (N/A MiB)" in done.stdout
    assert "\x1b" not in done.stdout + done.stderr
    assert "the phase instance failed: \\x1b[31mred\\x07" in done.stderr


@pytest.mark.parametrize("name", ["collect", "driver", "report", "run"])
def test_a_folder_with_tests_of_its_own_is_in_nobodys_way(tmp_path: pathlib.Path, name: str) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/__init__.py").write_text(
        "raise SystemExit('these are the tests of another project')", encoding="utf-8"
    )
    done = subprocess.run(
        [ROOT / "tests/gpu" / name, "--help"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
    )
    assert "another project" not in done.stderr
    assert done.returncode == 0 or name == "driver", "which takes no arguments, and says that there is no GPU"
