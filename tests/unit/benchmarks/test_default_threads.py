# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The default number of threads is never worse than llama-server's own, on every topology that is recorded."""

import json
import os
import pathlib
import runpy
import subprocess
import sys
import typing

import pytest

BENCHMARKS = pathlib.Path(__file__).resolve().parents[3] / "benchmarks"
SCRIPT = runpy.run_path(str(BENCHMARKS / "default_threads.py"))
TOPOLOGIES = json.loads((BENCHMARKS / "topologies.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("topology", TOPOLOGIES, ids=[each["name"] for each in TOPOLOGIES])
def test_the_default_is_the_best_number_and_never_worse_than_llama_servers(topology: dict[str, typing.Any]) -> None:
    assert (SCRIPT["ours"](topology), SCRIPT["worse"](topology)) == (topology["best"], False)


def test_llama_servers_rule() -> None:
    """It was read from the source of b11434: SMT is counted once, E-cores are left out, affinity and quota are not."""
    found = {each["name"].partition(":")[0]: SCRIPT["theirs"](each) for each in reversed(TOPOLOGIES)}
    assert (found["Core i7-13700K"], found["Core Ultra 7 265K"], found["Core Ultra 5 125H"]) == (8, 4, 4)
    assert (found["EPYC"], found["RK3588"], found["VM"]) == (8, 8, 4)
    assert SCRIPT["theirs"]({"count": 8}) == 4


def test_the_script_prints_every_topology() -> None:
    command = [sys.executable, str(BENCHMARKS / "default_threads.py")]
    environment = {**os.environ, "PYTHONPATH": str(BENCHMARKS.parent / "collections")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr, len(done.stdout.splitlines())) == (0, "", len(TOPOLOGIES) + 2)
