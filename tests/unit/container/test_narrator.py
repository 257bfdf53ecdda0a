# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The events of a container's start as lines for people, JSON for programs, and a phase for the health check."""

import io
import json
import pathlib

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.progress import BYTES, Snapshot
from llama_fleet.container import startlog
from llama_fleet.container.narrator import Narrator
from llama_fleet.run import events
from llama_fleet.settings import Stage

STAGES = (Stage("llama_cpp", "Plan the release", plan=True), Stage("llama_cpp", "Provide the release"))
EVENTS = (
    events.StageDone("localhost", "llama_cpp", "x", True, False, 0.51, {"would_change": True}),
    events.Progress("localhost", Snapshot("building llama.cpp", 5, 12, elapsed=132.2)),
    events.StageDone("localhost", "llama_cpp", "x", False, True, 75.0, {}),
    events.Remark("an old compiler", warning=True),
    events.Remark("a diff"),
    events.Failure("localhost", "no space", role="llama_cpp"),
)


@pytest.fixture(autouse=True)
def phase(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    monkeypatch.setattr(startlog, "PHASE", str(tmp_path / "phase.json"))
    return tmp_path / "phase.json"


def test_for_people_there_are_lines(capsys: pytest.CaptureFixture[str]) -> None:
    narrator = Narrator(startlog.Log(), STAGES)
    for event in EVENTS:
        narrator(event)
    assert capsys.readouterr().err.splitlines() == [
        "localhost: Plan the release: there is work to do",
        "localhost: building llama.cpp: 41 %, [5/12], 3 min 5 s left",
        "localhost: Provide the release: changed, 1 min 15 s",
        "Warning: an old compiler",
        "a diff",
    ]


def test_for_machines_each_line_is_one_object() -> None:
    stream = io.StringIO()
    log = startlog.Log(as_json=True, stream=stream)
    narrator = Narrator(log, STAGES)
    for event in EVENTS:
        narrator(event)
    log.error("it\nfailed")
    told = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert all(len(line.pop("time")) == len("2026-11-22T12:00:00Z") for line in told)
    assert told == [
        {
            "event": "stage",
            "text": "Plan the release",
            "role": "llama_cpp",
            "plan": True,
            "changed": True,
            "seconds": 0.5,
        },
        {
            "event": "progress",
            "text": "building llama.cpp: 41 %, [5/12], 3 min 5 s left",
            "stage": "building llama.cpp",
            "percent": 41,
            "amount": "5/12",
            "seconds_left": 185,
        },
        {
            "event": "stage",
            "text": "Provide the release",
            "role": "llama_cpp",
            "plan": False,
            "changed": True,
            "seconds": 75.0,
        },
        {"event": "warning", "text": "an old compiler"},
        {"event": "info", "text": "a diff"},
        {"event": "error", "text": "it\nfailed"},
    ]


@pytest.mark.parametrize(
    ("snapshot", "parts"),
    [
        (Snapshot("testing the release"), {}),
        (Snapshot("fetching a: b", 10_000_000, 139_000_000, BYTES), {"percent": 7, "amount": "10 of 139 MB, 0.0 MB/s"}),
        (
            Snapshot("fetching b", 10_000_000, 139_000_000, BYTES, 2.0),
            {"percent": 7, "amount": "10 of 139 MB, 5.0 MB/s", "seconds_left": 25},
        ),
        (Snapshot("building", 12, 12, elapsed=4.0), {"percent": 100, "amount": "12/12"}),
    ],
)
def test_machines_get_the_parts_of_progress(snapshot: Snapshot, parts: dict[str, object]) -> None:
    stream = io.StringIO()
    Narrator(startlog.Log(as_json=True, stream=stream), STAGES)(events.Progress("localhost", snapshot, "llama_cpp"))
    said = json.loads(stream.getvalue())
    assert {name: said[name] for name in said if name not in ("time", "event", "text")} == {
        "role": "llama_cpp",
        "stage": snapshot.stage,
        **parts,
    }


def test_the_health_check_is_told_how_far_it_is() -> None:
    Narrator(startlog.Log(), STAGES)(EVENTS[1])
    assert startlog.read_phase()["text"] == "building llama.cpp: 41 %, [5/12], 3 min 5 s left"
    Narrator(startlog.Log(), STAGES)(EVENTS[2])
    assert startlog.read_phase()["text"] == "Provide the release: done"
