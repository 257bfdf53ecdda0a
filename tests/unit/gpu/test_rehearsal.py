# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The phases of tests/gpu/run that have instances, whole: on the CPU, and as on a GPU where nodes, driver and release
are ours.

With ``LLAMA_FLEET_TEST_RELEASE`` they run with that release, speeds and llama-bench among them, else with one whose
server is a script.
"""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import sysconfig
import time
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.host import processes
from ansible_collections.llama_fleet.core.tests.unit.fakes import server as fake_server
from ansible_collections.llama_fleet.core.tests.unit.module_runs import free_port
from tests.gpu import contradictions, journal, rehearsal, results, session
from tests.gpu.phases import speeds

ROOT = pathlib.Path(__file__).resolve().parents[3]
REAL = os.environ.get("LLAMA_FLEET_TEST_RELEASE", "")
PHASES = ["instance", "fallback", "sharing", "changes", *(["speed", "speed-ways"] if REAL else [])]
# What tests/gpu/run does around its phases, but for Ansible out of a parcel.
_RUN = """
import dataclasses, json, pathlib, sys
from tests.gpu import frame, journal, session
from tests.gpu.phases import changes, fallback, instance, sharing, speeds
work, mode, port, names = pathlib.Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4:]
session.Run.install_ansible = lambda run: None
small = session.shapes("Q8_0")["small"]
models = (dataclasses.replace(small, name="smaller-Q8_0", layers=small.layers[:1]), small)
run = session.Run(work, work, work, mode, models, 32, 8, 1, port, {})
told = {"mode": mode, "date": "2026-11-29T00:00:00+00:00", "gpus": [{"name": "none", "driver_version": "0"}]}
journal.Journal(work).write({"run": told})
journal.Journal(work).conclude("release", journal.DONE, 0)
all = (instance.PHASE, fallback.PHASE, sharing.PHASE, changes.PHASE, speeds.PHASE, speeds.OTHERS)
frame.go([phase for phase in all if phase.name in names], run)
"""


def begin(
    work: pathlib.Path, release: pathlib.Path, mode: str, phases: typing.Sequence[str], enter: typing.Sequence[str] = ()
) -> subprocess.Popen[str]:
    """Start the phases in a process of their own."""
    (work / session.RELEASE).write_text(json.dumps({"release": {"path": str(release)}}), encoding="utf-8")
    if not (work / "site").exists():
        (work / "site").symlink_to(sysconfig.get_path("purelib"))
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'collections'}"}
    command = [*enter, sys.executable, "-c", _RUN, str(work), mode, str(free_port()), *phases]
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def go(
    work: pathlib.Path, release: pathlib.Path, mode: str, phases: typing.Sequence[str], enter: typing.Sequence[str] = ()
) -> results.Results:
    """Run the phases and return what they have found."""
    with begin(work, release, mode, phases, enter) as process:
        _said, told = process.communicate(timeout=500)
    assert process.returncode == 0, told
    return results.read(work / journal.NAME)


@pytest.fixture
def release(tmp_path: pathlib.Path) -> pathlib.Path:
    return pathlib.Path(REAL or fake_server.release(tmp_path, "plain"))


def outcomes(found: results.Results) -> dict[str, str]:
    return {
        name: outcome["reason"] or outcome["outcome"] for name, outcome in found.outcomes.items() if name != "release"
    }


def values(work: pathlib.Path, phase: str) -> list[dict[str, typing.Any]]:
    return journal.Journal(work).values(phase)


def test_on_the_cpu(tmp_path: pathlib.Path, release: pathlib.Path) -> None:
    found = go(tmp_path, release, "cpu", PHASES)
    assert outcomes(found) == dict.fromkeys(PHASES, "done")
    assert contradictions.told(found) == []
    assert {one["device"] for one in found.instances.values()} == {"cpu"}
    assert {name: len(told) for name, told in found.not_seen.items()} == {
        "instance": 3,
        "sharing": 2,
        **dict.fromkeys(PHASES[4:], 1),
    }
    assert [one.get("refused") for one in values(tmp_path, "fallback")] == [None, True, True]
    assert values(tmp_path, "changes")[-1] == {"starts": 4, "runs": 6}
    assert [one["generation"] for one in values(tmp_path, "changes")[:-1]] == [1, 1, 2, 1, 1, 3]
    # Nothing is left, and nothing is measured twice.
    assert [path.name for path in (tmp_path / "etc/instances").iterdir() if not path.name.startswith(".")] == []
    before = (tmp_path / journal.NAME).read_text(encoding="utf-8")
    go(tmp_path, release, "cpu", PHASES)
    more = (tmp_path / journal.NAME).read_text(encoding="utf-8").removeprefix(before)
    assert more.count("\n") == 2, "the two lines that this test itself writes"


@pytest.fixture
def rehearse(tmp_path: pathlib.Path, release: pathlib.Path) -> typing.Callable[..., results.Results]:
    def start(phases: typing.Sequence[str], percent: int = 100) -> results.Results:
        try:
            wrapped = rehearsal.install(tmp_path / "gpu", release, percent)
        except rehearsal.CannotError as reason:
            pytest.skip(str(reason))
        return go(tmp_path, wrapped, "gpu", phases, [str(tmp_path / "gpu/enter")])

    return start


def test_as_on_a_gpu(tmp_path: pathlib.Path, rehearse: typing.Callable[..., results.Results]) -> None:
    found = rehearse(PHASES)
    assert outcomes(found) == dict.fromkeys(PHASES, "done")
    assert {one["device"] for one in found.instances.values()} == {"CUDA0"}
    for one in found.instances.values():
        assert one["memory"]["error_percent"] == 0.0, one
        assert one["memory"]["cuda_context_mib"] == rehearsal.CONTEXT
        assert one["memory"]["measured_by"] == "the processes that nvidia-smi lists"
        assert one["opened"] == ["/dev/nvidia0", "/dev/nvidiactl"]
    assert contradictions.told(found) == [] or REAL, "speeds of a busy CPU may contradict anything"
    two, held = values(tmp_path, "sharing")
    assert (two["devices"], two["answered"], [mib > rehearsal.CONTEXT for mib in two["taken_mib"]]) == (
        ["CUDA0", "CUDA0"],
        2,
        [True, True],
    )
    assert (held["refused"], held["holder_named"]) == (True, True)
    assert held["held_mib"] > rehearsal.TOTAL * 9 // 10
    # The nodes of a rehearsal are files, so nothing is said of their drivers.
    assert [what for told in found.not_seen.values() for what in told] == [
        "whether a unit allows /dev/nvidia0, of whose driver the kernel does not tell" for _model in found.instances
    ]


def test_a_server_that_takes_more_than_it_plans_contradicts_the_code(
    rehearse: typing.Callable[..., results.Results],
) -> None:
    found = rehearse(["instance"], percent=130)
    assert outcomes(found) == {"instance": "done"}
    sentences = [sentence for sentence in contradictions.told(found) if "memory plan" in sentence]
    assert [sentence.partition(" is off by -")[0] for sentence in sentences] == [
        "the memory plan of small-Q8_0",
        "the memory plan of smaller-Q8_0",
    ]


@pytest.mark.parametrize("phase", PHASES)
def test_a_run_that_is_killed_in_a_phase_goes_on(tmp_path: pathlib.Path, release: pathlib.Path, phase: str) -> None:
    with begin(tmp_path, release, "cpu", [phase]) as process:
        for _turn in range(6000):
            if values(tmp_path, phase) or process.poll() is not None:
                break
            time.sleep(0.02)
        process.kill()
    before = values(tmp_path, phase)
    assert before, "it has found something"
    assert phase not in results.read(tmp_path / journal.NAME).outcomes, "and was not at its end"
    found = go(tmp_path, release, "cpu", [phase])
    assert found.outcomes[phase]["outcome"] == "done", found.outcomes[phase]
    assert processes.started_with(session.MARK, str(tmp_path)) == []
    if phase in ("instance", "speed", "speed-ways"):  # whose parts stand for themselves
        after = values(tmp_path, phase)
        assert after[: len(before)] == before
        assert len({json.dumps({name: one.get(name) for name in (*speeds.KEYS, "not_seen")}) for one in after}) == len(
            after
        ), "nothing is measured twice"
