# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The end of ``up`` on this machine: the answer of a real server, and how to go on."""

import os
import pathlib
import signal
import threading
from collections.abc import Callable, Iterator

import pytest

from ansible_collections.llama_fleet.core.tests.unit.module_runs import free_port
from llama_fleet.chat.server import Server
from llama_fleet.cli import commands, foreground, privileges
from llama_fleet.run import runner
from llama_fleet.run.events import Listener, Outcome
from tests.unit.chat import llama


class Runs:
    """A stand-in for the plays, whose instance is a server of this process."""

    def __init__(self, endpoint: str) -> None:
        self.requests: list[runner.Request] = []
        self.result = {
            "instance": "default",
            "endpoint": endpoint,
            "answer": "",
            "changed": True,
            "pid": os.getpid(),
            "log": "journalctl -u x",
            "certificate": "",
            "environment_file": "/i/default/generations/1/environment",
        }

    def __call__(self, request: runner.Request, _listener: Listener) -> Outcome:
        self.requests.append(request)
        return Outcome(calls=7, seconds=5.1, results={"localhost": {"llama_server": self.result}})


@pytest.fixture
def behaviour() -> llama.Behaviour:
    return llama.Behaviour()


@pytest.fixture
def runs(behaviour: llama.Behaviour, monkeypatch: pytest.MonkeyPatch) -> Iterator[Runs]:
    monkeypatch.setattr(privileges, "needs_become", lambda _command: False)
    for name in ("LLAMA_API_KEY", "LLAMA_SERVER_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    with llama.serving(behaviour) as server:
        runs = Runs(llama.url(server))
        monkeypatch.setattr(runner, "run", runs)
        yield runs


def asked(behaviour: llama.Behaviour) -> list[str]:
    """Return the text of each question."""
    return [body["messages"][-1]["content"] for _path, _key, body in behaviour.asked if body]


def test_a_changed_instance_is_asked_and_the_ways_to_go_on_are_named(
    runs: Runs, behaviour: llama.Behaviour, capsys: pytest.CaptureFixture[str]
) -> None:
    behaviour.interface = True
    assert commands.main(["up"]) == 0
    endpoint = runs.result["endpoint"]
    summary, blank, answer, figures, gap, address, line, *ways = capsys.readouterr().out.splitlines()
    assert (summary, blank, answer, gap) == ("changed=0 in 5.1 s, 7 module calls", "", "Blue sky.", "")
    assert figures.startswith("5 tokens, 12.5 tokens/s, first token after ")
    assert address == endpoint
    assert line.startswith(f"curl {endpoint}/v1/chat/completions ")
    assert ways == [
        "./llama-fleet chat  # talk to it",
        f"./llama-fleet open  # {endpoint}/ in a browser",
    ]
    assert asked(behaviour) == [commands.PROMPT]
    assert behaviour.asked[0][2]["max_tokens"] == 64


def test_the_gate_is_not_asked_for_an_answer_as_well(runs: Runs, behaviour: llama.Behaviour) -> None:
    assert commands.main(["up", "--prompt", "Which colour?"]) == 0
    assert runs.requests[0].variables["llama_server_prompt"] == ""
    assert asked(behaviour) == ["Which colour?"]


@pytest.mark.parametrize(
    ("arguments", "changed", "questions"),
    [([], False, []), (["--prompt", "Why?"], False, ["Why?"]), (["--prompt", ""], True, [])],
)
def test_an_unchanged_instance_is_asked_on_demand_only(
    runs: Runs, behaviour: llama.Behaviour, arguments: list[str], changed: bool, questions: list[str]
) -> None:
    runs.result["changed"] = changed
    assert commands.main(["up", *arguments]) == 0
    assert asked(behaviour) == questions


@pytest.mark.usefixtures("runs")
@pytest.mark.parametrize(
    "arguments",
    [["--embeddings"], ["--rerank"], ["--allow", "router"], ["--extra-options", "embeddings=true"]],
)
def test_a_server_of_another_kind_is_not_asked(
    behaviour: llama.Behaviour, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    assert commands.main(["up", *arguments]) == 0
    assert behaviour.asked == []
    assert "llama-fleet chat" not in capsys.readouterr().out


def test_the_key_is_used_and_not_shown(
    runs: Runs, behaviour: llama.Behaviour, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    behaviour.key = "k3y"
    (tmp_path / "key").write_text("k3y\n", encoding="ascii")
    runs.result["command"] = ["llama-server", "--api-key-file", "/etc/key"]
    assert commands.main(["up", "--api-key-file", str(tmp_path / "key")]) == 0
    printed = capsys.readouterr()
    assert "Blue sky.\n" in printed.out
    assert "cat /etc/key | " in printed.out
    assert "k3y" not in printed.out + printed.err
    assert ("/", "", None) in behaviour.asked


@pytest.mark.usefixtures("runs")
def test_the_place_goes_with_the_commands(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "a b"
    assert commands.main(["up", "--detach", "--prefix", str(folder), "--instance", "small"]) == 0
    assert f"./llama-fleet chat --prefix '{folder}' --instance small  # talk to it\n" in capsys.readouterr().out


def test_an_instance_that_is_not_reached_from_here_is_a_warning(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    runs.result["endpoint"] = f"http://127.0.0.1:{free_port()}"
    assert commands.main(["up"]) == 0
    printed = capsys.readouterr()
    assert "Warning: http://127.0.0.1:" in printed.err
    assert "gave no answer: nothing listens on its port." in printed.err
    assert f"\n{runs.result['endpoint']}\n" in printed.out


def test_a_process_that_has_ended_is_not_asked(
    runs: Runs, behaviour: llama.Behaviour, capsys: pytest.CaptureFixture[str]
) -> None:
    runs.result["pid"] = 0
    assert commands.main(["up"]) == 0
    assert "Warning: The instance's process is not visible" in capsys.readouterr().err
    assert behaviour.asked == []


@pytest.mark.parametrize(
    ("refusal", "chunks", "sentence"),
    [
        (
            (500, {"error": {"message": "bad template\x1b"}}),
            llama.ANSWER,
            "The server answered 500: bad template\\x1b.",
        ),
        (None, [], "The instance is ready, but its answer to the prompt is empty."),
    ],
)
def test_an_instance_that_does_not_answer_is_a_failure(
    runs: Runs,
    behaviour: llama.Behaviour,
    capsys: pytest.CaptureFixture[str],
    refusal: tuple[int, object] | None,
    chunks: list[object],
    sentence: str,
) -> None:
    behaviour.refusal, behaviour.chunks = refusal, chunks
    assert commands.main(["up", "--detach"]) == 1
    assert f"Error: {sentence}" in capsys.readouterr().err
    assert [request.playbook for request in runs.requests] == ["site"]


def test_a_process_whose_answer_fails_is_stopped_with_the_command(
    runs: Runs, behaviour: llama.Behaviour, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(foreground, "follow", lambda *_arguments: pytest.fail("followed"))
    runs.result["log"] = "/log"
    behaviour.refusal = (500, {})
    assert commands.main(["up"]) == 1
    assert [request.playbook for request in runs.requests] == ["site", "down"]


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_during_the_answer_ends_the_command_and_its_process(
    runs: Runs, monkeypatch: pytest.MonkeyPatch, number: int, status: int
) -> None:
    whole: Callable[..., Iterator[object]] = Server.answer

    def interrupted(self: Server, *arguments: object, **options: object) -> Iterator[object]:
        yield next(iter(whole(self, *arguments, **options)))
        signal.pthread_kill(threading.main_thread().ident or 0, number)
        yield from ()

    monkeypatch.setattr(Server, "answer", interrupted)
    runs.result["log"] = "/log"
    assert commands.main(["up"]) == status
    assert [request.playbook for request in runs.requests] == ["site", "down"]
