# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The machinery of benchmarks/build.py; what it measures is real and takes its time."""

import json
import pathlib
import runpy
import subprocess
import sys
import typing

import pytest

BENCHMARKS = pathlib.Path(__file__).resolve().parents[3] / "benchmarks"
DAEMON = """
import os, pathlib, sys, time
if os.fork():
    os._exit(3)
os.setsid()
if os.fork():
    os._exit(0)
time.sleep(0.3)
pathlib.Path(sys.argv[1]).touch()
"""


@pytest.fixture(scope="module")
def build() -> dict[str, typing.Any]:
    return runpy.run_path(str(BENCHMARKS / "build.py"))


def names(build: dict[str, typing.Any], *wanted: str, with_cuda: bool = False) -> list[str]:
    return [case.name for case in build["chosen"](wanted, with_cuda)]


def test_a_case_brings_what_it_needs_and_comes_after_it(build: dict[str, typing.Any]) -> None:
    assert names(build, "unpack") == ["cold", "pack", "unpack"]
    assert names(build, "naive", "warm") == ["cold", "warm", "naive"]
    assert names(build, "portable") == ["portable"]


def test_cuda_is_only_measured_where_it_is_asked_for(build: dict[str, typing.Any]) -> None:
    everything = names(build, with_cuda=True)
    assert [name for name in everything if name not in names(build)] == ["cuda-native", "cuda-default"]
    assert everything == [case.name for case in build["CASES"]]
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / "build.py"), "--cases", "cuda-native"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "a case with CUDA wants --cuda" in done.stderr


def test_what_a_command_leaves_behind_is_waited_for(tmp_path: pathlib.Path) -> None:
    words = [
        sys.executable,
        str(BENCHMARKS / "measured.py"),
        str(tmp_path / "output"),
        sys.executable,
        "-c",
        DAEMON,
        str(tmp_path / "done"),
    ]
    found = json.loads(subprocess.run(words, capture_output=True, check=True).stdout)
    assert found["code"] == 3
    assert (tmp_path / "done").exists()
    assert found.keys() == {"wall", "cpu", "code"}


def test_the_table_and_how_it_stands_to_what_is_wanted(tmp_path: pathlib.Path) -> None:
    figures = {
        "machine": {"date": "2026-11-22", "cores": 2, "processor": "Some CPU", "load": 0.1},
        "compiler_cache": "ccache version 4",
        "source": "/a.tar.gz",
        "next_source": "/b.tar.gz",
        "cmake_options": ["GGML_LTO=ON"],
        "cured": ["-mno-amx-tile"],
        "cases": {
            "cold": {"title": "a build", "wall": [100.0], "cpu": [200.0]},
            "warm": {"title": "again", "wall": [9.0], "cpu": [20.0]},
            "noop": {"title": "nothing", "wall": [0.5, 0.25, 3], "cpu": [0.5, 0.25, 3]},
        },
    }
    path = tmp_path / "figures.json"
    path.write_text(json.dumps(figures), encoding="utf-8")
    shown = subprocess.run(
        [sys.executable, str(BENCHMARKS / "build_table.py"), str(path)], capture_output=True, text=True, check=True
    ).stdout
    assert shown.splitlines()[0] == "2026-11-22, 2 cores of Some CPU, load 0.1 before, ccache version 4"
    assert "with GGML_LTO=ON\n" in shown
    assert "compiled for a second time with -mno-amx-tile" in shown
    assert "| again | 9.00 | 9.00 | 20.00 | 20.00 | 10.0% |\n| nothing | 0.25 | 0.50 | 0.25 | 0.50 | 0.2% |\n" in shown
    assert (
        "warm: 10.0% of the CPU seconds of cold (wanted: at most 15 %)\nnoop: 0.50 s (wanted: at most 1 s)\nCUDA: not "
        "measured\n"
    ) in shown
