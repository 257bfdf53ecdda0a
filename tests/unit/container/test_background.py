# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The build beside a running server."""

import fcntl
import pathlib
import time
import typing

import pytest

from llama_fleet import settings
from llama_fleet.container import background, health, newest, record, startlog
from llama_fleet.run import runner
from llama_fleet.run.events import Failure, Outcome
from llama_fleet.run.runner import Request
from tests.unit.container.fake_volume import CATALOGUE, SETTINGS

NOW = 1_000_000.0
FAILED = Outcome(failures=[Failure("localhost", "it does not compile.", role="llama_cpp")])


class Builds:
    """Stands in for the play, and for the repository."""

    def __init__(self) -> None:
        self.asked: list[dict[str, typing.Any]] = []
        self.outcome = Outcome()
        self.newest = "c2"

    def run(self, request: Request, _listener: object) -> Outcome:
        self.asked.append(dict(request.variables))
        return self.outcome

    def commit(self, *_arguments: str) -> str:
        if not self.newest:
            raise newest.UnknownError("no route")
        return self.newest


@pytest.fixture
def builds(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Builds:
    made = Builds()
    monkeypatch.setattr(record, "STATE", str(tmp_path))
    monkeypatch.setattr(startlog, "PHASE", str(tmp_path / "phase.json"))
    monkeypatch.setattr(time, "time", lambda: NOW)
    monkeypatch.setattr(settings, "load", lambda: CATALOGUE)
    monkeypatch.setattr(health, "main", lambda: 0)
    monkeypatch.setattr(runner, "run", made.run)
    monkeypatch.setattr(newest, "commit", made.commit)
    for name, text in {**SETTINGS, "LLAMA_CPP_UPDATE": "background"}.items():
        monkeypatch.setenv(name, text)
    return made


def test_it_builds_the_newest_and_touches_neither_model_nor_instance(builds: Builds) -> None:
    assert background.main() == 0
    (asked,) = builds.asked
    assert (asked["llama_cpp_update"], asked["llama_fleet_release_only"]) == ("always", True)
    assert background.last()["reason"] == ""


def test_what_failed_is_told_and_not_tried_again_for_a_day(builds: Builds, monkeypatch: pytest.MonkeyPatch) -> None:
    builds.outcome = FAILED
    assert background.main() == 1
    assert background.last()["reason"] == "it does not compile."
    assert background.main() == 0
    assert len(builds.asked) == 1
    builds.newest = "c3"
    background.main()
    assert len(builds.asked) == 2
    monkeypatch.setattr(time, "time", lambda: NOW + 25 * 3600)
    background.main()
    assert len(builds.asked) == 3


def test_without_an_answer_of_the_repository_nothing_is_built(builds: Builds) -> None:
    builds.newest = ""
    assert background.main() == 1
    assert builds.asked == []


def test_a_second_one_leaves_it_to_the_first(
    builds: Builds, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def taken(*_arguments: object) -> None:
        raise BlockingIOError

    monkeypatch.setattr(fcntl, "lockf", taken)
    assert background.main() == 0
    assert builds.asked == []
    assert (tmp_path / "background.lock").exists()


def test_the_server_loads_its_model_first(builds: Builds, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [1, 1, 0]
    monkeypatch.setattr(background, "PAUSE", 0.0)
    monkeypatch.setattr(health, "main", lambda: answers.pop(0) if not builds.asked else pytest.fail("asked too late"))
    assert background.main() == 0
    assert answers == []


def test_a_server_that_never_answers_does_not_keep_it_for_ever(builds: Builds, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "LOADING", 0.0)
    monkeypatch.setattr(health, "main", lambda: 1)
    assert background.main() == 0
    assert len(builds.asked) == 1


@pytest.mark.parametrize("text", ["", "[1]", '{"reason": "x"}'])
def test_an_outcome_that_is_none_is_empty(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(record, "STATE", str(tmp_path))
    pathlib.Path(background.outcome_path()).write_text(text, encoding="utf-8")
    assert background.last() == {}
