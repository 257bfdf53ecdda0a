# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test the commands chat and open: server, question and output."""

import io
import pathlib
import sys
import typing

import pytest

from ansible_collections.llama_fleet.core.tests.unit.fakes.instance import Site
from llama_fleet import settings
from llama_fleet.chat import session
from llama_fleet.cli import commands
from llama_fleet.run import runner
from llama_fleet.run.events import Failure, Listener, Outcome
from tests.unit.chat import llama

if typing.TYPE_CHECKING:
    from collections.abc import Mapping


pytestmark = pytest.mark.usefixtures("no_terminal")


class Terminal(io.StringIO):
    """A standard stream that is a terminal."""

    def isatty(self) -> bool:
        return True


def asked(behaviour: llama.Behaviour) -> list[str]:
    """Return the text of each question."""
    return [body["messages"][-1]["content"] for _path, _key, body in behaviour.asked]


def test_one_question_prints_the_answer(
    url: str, behaviour: llama.Behaviour, capsys: pytest.CaptureFixture[str]
) -> None:
    assert commands.main(["chat", "--url", url, "--system", "Be brief.", "--model", "large", "Which", "colour?"]) == 0
    assert capsys.readouterr().out == "Blue sky.\n"
    [(_path, key, body)] = behaviour.asked
    assert (key, body["model"]) == ("", "large")
    assert [message["content"] for message in body["messages"]] == ["Be brief.", "Which colour?"]


@pytest.mark.parametrize(
    ("words", "given", "question"),
    [
        ([], "from a pipe\n", "from a pipe"),
        (["Sum up:", "-"], "a log\n", "Sum up:\n\na log"),
        (["-"], "alone", "alone"),
        (["Which?"], "not read", "Which?"),
    ],
)
def test_the_standard_input_is_a_question(
    url: str,
    behaviour: llama.Behaviour,
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    given: str,
    question: str,
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(given))
    assert commands.main(["chat", "--url", url, *words]) == 0
    assert asked(behaviour) == [question]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (io.StringIO(" \n"), "There is no message. Fix: Give one"),
        (io.StringIO("x" * 4_194_305), "The standard input has more than 4194304 characters."),
        (io.TextIOWrapper(io.BytesIO(b"\xff"), encoding="utf-8"), "The standard input is no text in UTF-8."),
    ],
    ids=["empty", "endless", "binary"],
)
def test_an_unusable_input_is_wrong_usage(
    url: str,
    behaviour: llama.Behaviour,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    given: io.TextIOBase,
    sentence: str,
) -> None:
    monkeypatch.setattr(sys, "stdin", given)
    assert commands.main(["chat", "--url", url]) == 2
    assert sentence in capsys.readouterr().err
    assert behaviour.asked == []


def test_on_a_terminal_the_user_types(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal())
    seen: list[session.Conversation] = []

    def interactive(talk: session.Conversation) -> int:
        seen.append(talk)
        return 0

    monkeypatch.setattr(session, "interactive", interactive)
    assert commands.main(["chat", "--url", url]) == 0
    assert [talk.server.target.base for talk in seen] == [url]


def test_the_key_is_read_from_a_file_or_the_environment(
    url: str,
    behaviour: llama.Behaviour,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    behaviour.key = "k3y"
    (tmp_path / "key").write_text("k3y\nother\n", encoding="ascii")
    assert commands.main(["chat", "--url", url, "Hi"]) == 1
    assert commands.main(["chat", "--url", url, "--api-key-file", str(tmp_path / "key"), "Hi"]) == 0
    monkeypatch.setenv("LLAMA_API_KEY", "k3y")
    assert commands.main(["chat", "--url", url, "Hi"]) == 0
    printed = capsys.readouterr()
    assert "Error: The server wants another API key." in printed.err
    assert "k3y" not in printed.out + printed.err


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\n", b"a\x1bb\n"])
def test_a_file_without_a_key_is_refused(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    (tmp_path / "key").write_bytes(content)
    assert commands.main(["chat", "--url", "http://h", "--api-key-file", str(tmp_path / "key"), "Hi"]) == 2
    assert "--api-key-file: expected an API key in the first line of " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--limit", "h1"], "--limit needs an inventory. Fix: Add one with -i."),
        (["--url", "http://h", "--instance", "x"], "--url cannot be combined with --instance or -i."),
        (["--url", "http://h", "-i", "/"], "--url cannot be combined with --instance or -i."),
        (["--url", "h:8080"], "--url: expected http://HOST:PORT"),
    ],
)
@pytest.mark.parametrize("command", [["chat", "Hi"], ["open"]])
def test_wrong_usage_is_a_sentence(
    capsys: pytest.CaptureFixture[str], command: list[str], arguments: list[str], sentence: str
) -> None:
    assert commands.main([*command, *arguments]) == 2
    assert sentence in capsys.readouterr().err


def test_an_instance_of_this_machine_is_found_below_the_prefix(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "etc" / "llama-fleet" / "instances" / "chat"
    folder.mkdir(parents=True)
    assert commands.main(["chat", "--prefix", str(tmp_path), "Hi"]) == 1
    assert "Error: The instance chat has no generation." in capsys.readouterr().err


def test_a_stopped_instance_is_unreachable(tmp_path: pathlib.Path) -> None:
    site = Site(tmp_path)
    site.write()
    roots = ["--llama-server-root", str(tmp_path / "etc"), "--runtime-root", str(tmp_path / "run")]
    assert commands.main(["chat", *roots, "Hi"]) == 3


class Fleet:
    """A stand-in for the play that looks at a fleet."""

    def __init__(self, *rows: tuple[str, str, str]) -> None:
        self.requests: list[runner.Request] = []
        self.failures: list[Failure] = []
        self.addresses = {host: f"{host}.example" for host, _name, _endpoint in rows}
        self.results: dict[str, dict[str, Mapping[str, object]]] = {
            host: {
                "llama_server_info": {
                    "instances": [
                        {"instance": name, "endpoint": endpoint, "pid": 7} for at, name, endpoint in rows if at == host
                    ]
                }
            }
            for host, _name, _endpoint in rows
        }

    def __call__(self, request: runner.Request, _listener: Listener) -> Outcome:
        self.requests.append(request)
        return Outcome(failures=self.failures, results=self.results, addresses=self.addresses)


def test_an_instance_of_a_fleet_is_found_on_the_named_host(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fleet = Fleet(("h1", "chat", "http://gone.invalid:8080"))
    monkeypatch.setattr(runner, "run", fleet)
    arguments = ["chat", "-i", str(tmp_path), "--limit", "h1", "--instance", "chat", "Hi"]
    assert commands.main(arguments) == 3
    assert "Error: http://gone.invalid:8080 gave no answer: " in capsys.readouterr().err
    [request] = fleet.requests
    assert request.playbook == "status"
    assert request.variables == {
        "llama_fleet_asked_for": "chat",
        "llama_fleet_asks_for_metrics": False,
        "llama_fleet_asks_for_newest": False,
        "llama_fleet_hosts": "h1",
    }


def test_an_instance_that_only_its_host_reaches_needs_a_tunnel(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(runner, "run", Fleet(("h1", "chat", "http://127.0.0.1:8080")))
    assert commands.main(["open", "-i", str(tmp_path)]) == 0
    line = "ssh -N -L 8080:127.0.0.1:8080 h1.example"
    assert capsys.readouterr().out == f"{line}\nhttp://127.0.0.1:8080/\n"
    assert commands.main(["chat", "-i", str(tmp_path), "Hi"]) == 1
    assert (
        f"h1: chat listens on its host only. Fix: Run '{line}' in another terminal, then use --url "
        "http://127.0.0.1:8080."
    ) in capsys.readouterr().err


@pytest.mark.parametrize(
    ("rows", "status", "sentence"),
    [
        ([], 1, "The inventory has no running instance that fits."),
        (
            [("h1", "chat", "http://h1:1"), ("h2", "chat", "http://h2:1")],
            2,
            "Several instances run: chat on h1, chat on h2. Fix: Choose one with --limit and --instance.",
        ),
    ],
)
def test_exactly_one_instance_is_meant(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: pathlib.Path,
    capsys: pytest.CaptureFixture[str],
    rows: list[tuple[str, str, str]],
    status: int,
    sentence: str,
) -> None:
    fleet = Fleet(*rows)
    fleet.failures = [Failure("h9", "no route", unreachable=True)]
    monkeypatch.setattr(runner, "run", fleet)
    assert commands.main(["chat", "-i", str(tmp_path), "Hi"]) == status
    error = capsys.readouterr().err
    assert sentence in error
    assert "Error: h9: cannot be reached: no route" in error


@pytest.mark.parametrize("command", ["chat", "open"])
def test_a_shell_completes_the_commands(command: str) -> None:
    group = commands.commands(settings.load())
    assert command in group.commands
    names = [option for parameter in group.commands[command].params for option in parameter.opts]
    assert {
        "--url",
        "--instance",
        "--limit",
        "--api-key-file",
        "--certificate",
        "--inventory",
        "--llama-server-root",
    } <= {*names}
