# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""What a container's start says, to people, to machines and to the health check."""

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
    Narrator(startlog.Log(as_json=True, stream=stream), STAGES)(events.Progress("localhost", snapshot))
    said = json.loads(stream.getvalue())
    assert {name: said[name] for name in said if name not in ("time", "event", "text")} == {
        "stage": snapshot.stage,
        **parts,
    }


def test_the_health_check_is_told_how_far_it_is(phase: pathlib.Path) -> None:
    Narrator(startlog.Log(), STAGES)(EVENTS[1])
    assert startlog.read_phase()["text"] == "building llama.cpp: 41 %, [5/12], 3 min 5 s left"
    Narrator(startlog.Log(), STAGES)(EVENTS[2])
    assert startlog.read_phase()["text"] == "Provide the release: done"
    phase.write_text("[]", encoding="utf-8")
    assert startlog.read_phase() == {}


def test_where_no_phase_can_be_written_the_start_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(startlog, "PHASE", "/proc/self/nothing/phase.json")
    startlog.phase(startlog.PREPARING, "x")
    assert startlog.read_phase() == {}


def test_a_phase_is_told_only_in_a_folder_of_this_user(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def told(folder: pathlib.Path) -> object:
        monkeypatch.setattr(startlog, "PHASE", str(folder / "phase.json"))
        startlog.phase(startlog.PREPARING, "x")
        return startlog.read_phase().get("text")

    assert told(tmp_path / "new") == "x"
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700
    (tmp_path / "link").symlink_to(tmp_path / "new")
    assert told(tmp_path / "link") is None
    (tmp_path / "new").chmod(0o777)
    assert told(tmp_path / "new") is None
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert told(tmp_path / "file") is None


@pytest.mark.parametrize(
    ("arguments", "given", "split"),
    [
        ([], "", ("plain", [])),
        ([], "json", ("json", [])),
        (["--log", "json", "--verbose"], "", ("json", ["--verbose"])),
        (["--log=plain", "-v"], "json", ("plain", ["-v"])),
        (["--verbose", "--log", "json"], "", ("plain", ["--verbose", "--log", "json"])),
        (["--log-file", "x"], "", ("plain", ["--log-file", "x"])),
        (["--log"], "", ("", [])),
    ],
)
def test_only_the_first_words_are_ours(arguments: list[str], given: str, split: tuple[str, list[str]]) -> None:
    assert startlog.split(arguments, given) == split


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "gpu-1"])
def test_a_server_that_others_reach_is_open_without_a_key(host: str) -> None:
    certificate = ["--ssl-cert-file", "/c.pem", "--ssl-key-file", "/k.pem"]
    assert startlog.is_open(["s", *certificate], host)
    assert not startlog.is_open(["s", "--api-key-file", "/k"], host)
    assert [name for name in ("127.0.0.1", "127.9.9.9", "localhost", "::1") if startlog.is_open(["s"], name)] == []


def test_a_servers_address_is_that_of_its_last_flag_and_else_of_its_environment() -> None:
    environment = {"LLAMA_ARG_HOST": "::", "LLAMA_ARG_PORT": "1", "LLAMA_ARG_API_PREFIX": "/a"}
    assert startlog.address(["s"], environment) == {"host": "::", "port": "1", "prefix": "/a", "certificate": ""}
    flags = ["s", "--port", "2", "--ssl-cert-file", "/c.pem", "--port", "3", "--host"]
    assert startlog.address(flags, environment) == {"host": "::", "port": "3", "prefix": "/a", "certificate": "/c.pem"}
    assert startlog.address(["s"], {})["port"] == "8080"
