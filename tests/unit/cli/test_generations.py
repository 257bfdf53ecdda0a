# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The commands generations and rollback: what they show, and what they ask of the hosts."""

import pathlib

import pytest

from llama_fleet.cli import commands, privileges
from llama_fleet.run import runner
from llama_fleet.run.events import Failure, Listener, Outcome
from tests.unit.cli.fake_hosts import Hosts, facts


def test_the_generations_are_a_table_with_the_newest_first(hosts: Hosts, capsys: pytest.CaptureFixture[str]) -> None:
    assert commands.main(["generations"]) == 0
    assert len(hosts.requests) == 1
    assert [line.rstrip() for line in capsys.readouterr().out.splitlines()] == [
        "HOST       INSTANCE  GENERATION           GATE        MADE                  BUILD  MODEL          SPEED",
        "localhost  chat               4  current  passed      2026-11-22T09:00:00Z  b2     m-Q4_K_M.gguf   41.3",
        "localhost  chat               3           not passed  2026-11-22T09:00:00Z  b2     m-Q4_K_M.gguf",
    ]


def test_a_verdict_on_the_state_is_no_failure_of_generations(hosts: Hosts, capsys: pytest.CaptureFixture[str]) -> None:
    hosts.instances = {"h1": [facts(state="failed")]}
    hosts.failures = [Failure("h1", "chat: failed")]
    assert commands.main(["generations"]) == 0
    assert capsys.readouterr().err.count("chat: failed") == 0


def test_an_instance_without_generations_is_told(hosts: Hosts, capsys: pytest.CaptureFixture[str]) -> None:
    hosts.instances = {"h1": [facts(state="absent", generations=[], generation=0)], "h2": []}
    assert commands.main(["generations", "chat"]) == 1
    assert capsys.readouterr().out.splitlines() == ["h1: chat: no generation", "h2: no instance"]


def test_rollback_names_the_instance_and_the_generation(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    requests: list[runner.Request] = []

    def run(request: runner.Request, _listener: Listener) -> Outcome:
        requests.append(request)
        result = {"generation": 3, "endpoint": "http://127.0.0.1:1"}
        return Outcome(
            calls=1,
            changed=1,
            seconds=2.0,
            results={name: {"llama_server": result} for name in ("localhost", "h1/chat")},
        )

    monkeypatch.setattr(runner, "run", run)
    monkeypatch.setattr(privileges, "needs_become", lambda command: command == "rollback")
    assert commands.main(["rollback", "chat", "--to", "3", "--diff"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "changed=1 in 2.0 s, 1 module calls",
        "h1/chat: generation 3 is current and answers at http://127.0.0.1:1",
        "generation 3 is current and answers at http://127.0.0.1:1",
    ]
    assert commands.main(["rollback", "-i", str(tmp_path), "--check"]) == 0
    assert capsys.readouterr().out.splitlines()[1] == "h1/chat: generation 3 would be current again"
    assert requests == [
        runner.Request(
            "rollback", {"llama_server_instance": "chat", "llama_server_to_generation": 3}, become=True, diff=True
        ),
        runner.Request("rollback", {}, (tmp_path,), check=True),
    ]


def test_a_rollback_that_failed_is_the_exit_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        runner, "run", lambda *_arguments: Outcome(failures=[Failure("localhost", "no such generation")])
    )
    monkeypatch.setattr(privileges, "needs_become", lambda _command: False)
    assert commands.main(["rollback"]) == 1
    assert capsys.readouterr().out == "changed=0 in 0.0 s, 0 module calls\n"
