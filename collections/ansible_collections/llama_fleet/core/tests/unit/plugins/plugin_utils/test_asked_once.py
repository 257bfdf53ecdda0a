# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Test that all hosts of a run share one answer, or one failure."""

from __future__ import annotations

import multiprocessing
import os
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError
from ansible_collections.llama_fleet.core.plugins.plugin_utils import asked_once
from ansible_collections.llama_fleet.core.plugins.plugin_utils.asked_once import Question

if typing.TYPE_CHECKING:
    import pathlib

QUESTION = Question(("https://api.example", "latest"), "llama_cpp_upstream_api")


class Server:
    """A server that counts its questions and may fail."""

    def __init__(self) -> None:
        self.asked = 0
        self.fails = False

    def __call__(self) -> str:
        self.asked += 1
        if self.fails:
            raise ProblemError(Problem("llama_cpp_upstream_api", "no answer\nat all", "an answer", "wait"))
        return f"answer {self.asked}"


@pytest.fixture
def server(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    monkeypatch.setenv("HOME", str(tmp_path))
    return Server()


def kept(folder: pathlib.Path) -> pathlib.Path:
    (path,) = (folder / ".cache/llama-fleet/upstream").glob("*.json")
    return path


def in_another_run(monkeypatch: pytest.MonkeyPatch, number: int = 1) -> None:
    monkeypatch.setattr(asked_once, "this_run", lambda: f"{number}-{number}")


def grow_old(folder: pathlib.Path, seconds: int) -> None:
    path = kept(folder)
    os.utime(path, (path.stat().st_atime, path.stat().st_mtime - seconds))


def test_an_answer_holds_to_the_end_of_its_run_and_a_while_in_others(
    server: Server, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert QUESTION.answer() is None
    assert [QUESTION.ask(server), QUESTION.ask(server), QUESTION.answer()] == ["answer 1"] * 3
    grow_old(tmp_path, asked_once.HOLDS + 1)
    assert QUESTION.ask(server) == "answer 1"
    in_another_run(monkeypatch)
    assert QUESTION.answer() is None
    assert QUESTION.ask(server) == "answer 2"
    in_another_run(monkeypatch, 2)
    grow_old(tmp_path, asked_once.HOLDS - 5)
    assert (QUESTION.ask(server), server.asked) == ("answer 2", 2)
    assert Question(("https://api.example", "stable"), "x").answer() is None


def test_a_failure_holds_in_its_own_run_only(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.fails = True
    for _host in range(3):
        with pytest.raises(ProblemError, match=r"found no answer.*at all\. Fix: Wait") as failed:
            QUESTION.ask(server)
        assert failed.value.problems[0].subject == "llama_cpp_upstream_api"
    assert (server.asked, QUESTION.answer()) == (1, None)
    in_another_run(monkeypatch)
    server.fails = False
    assert QUESTION.ask(server) == "answer 2"


def test_a_patient_host_asks_again_after_one_that_was_not(server: Server) -> None:
    server.fails = True
    for patient, asked in ((False, 1), (False, 1), (True, 2), (True, 2), (False, 2)):
        with pytest.raises(ProblemError):
            QUESTION.ask(server, patient=patient)
        assert server.asked == asked


@pytest.mark.parametrize("content", ["", "{}", "[" * 100_000, '{"run": "../x"}', '{"run": "1-1", "answer": 7}', "\xff"])
def test_a_damaged_file_is_asked_for_again(server: Server, tmp_path: pathlib.Path, content: str) -> None:
    QUESTION.ask(server)
    kept(tmp_path).write_text(content, encoding="latin-1")
    assert QUESTION.ask(server) == "answer 2"


def test_a_kept_answer_that_another_version_wrote_is_asked_for_again(server: Server) -> None:
    QUESTION.ask(lambda: "no number")
    number = Question(QUESTION.parts, QUESTION.subject, int)
    assert number.answer() is None
    assert number.ask(lambda: "7") == "7"
    assert QUESTION.ask(server) == "7"


def _tell_run(queue: typing.Any) -> None:
    queue.put(asked_once.this_run())


def test_the_processes_of_a_run_are_one_run() -> None:
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    workers = [context.Process(target=_tell_run, args=(queue,)) for _number in range(2)]
    for worker in workers:
        worker.start()
        worker.join(60)
    assert {queue.get() for _worker in workers} == {asked_once.this_run()}
    assert asked_once.this_run().startswith(f"{os.getpid()}-")
