# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test conversations: requests, history, and each command."""

import io
import typing
from collections.abc import Iterator

import pytest

from llama_fleet.chat import session
from llama_fleet.chat.server import Server, ServerError, Target
from llama_fleet.chat.session import Conversation
from llama_fleet.chat.shown import Display
from llama_fleet.errors import FleetError
from tests.unit.chat import llama


@pytest.fixture
def behaviour() -> llama.Behaviour:
    return llama.Behaviour()


@pytest.fixture
def talk(behaviour: llama.Behaviour) -> Iterator[Conversation]:
    with llama.serving(behaviour) as server:
        yield Conversation(Server(Target(llama.url(server))), Display(io.StringIO()))


def said(talk: Conversation) -> str:
    """Return what was shown so far."""
    return typing.cast("io.StringIO", talk.display._stream).getvalue()


def type_in(talk: Conversation, *lines: str | BaseException) -> int:
    """Type lines into a conversation, and Ctrl-C or Ctrl-D where an error is named."""
    given = iter(lines)

    def read(_prompt: str) -> str:
        line = next(given)
        if isinstance(line, BaseException):
            raise line
        return line

    return session.interactive(talk, read)


USER, MODEL = {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Blue sky."}


def test_the_conversation_so_far_goes_with_each_question(talk: Conversation, behaviour: llama.Behaviour) -> None:
    assert type_in(talk, "Hi", "/system Be brief.", "And?", EOFError()) == 0
    system = {"role": "system", "content": "Be brief."}
    assert [body["messages"] for _path, _key, body in behaviour.asked] == [
        [USER],
        [system, USER, MODEL, {"role": "user", "content": "And?"}],
    ]
    assert said(talk).count("[5 tokens, 12.5 tokens/s, first token after ") == 2


def test_a_question_is_forgotten_with_an_error_and_the_session_goes_on(
    talk: Conversation, behaviour: llama.Behaviour
) -> None:
    behaviour.refusal = (400, llama.FULL)
    assert type_in(talk, "Hi", "/exit") == 0
    assert talk.messages == []
    assert "Error: The conversation is too long: " in said(talk)


def test_the_conversation_can_be_cleared(talk: Conversation, behaviour: llama.Behaviour) -> None:
    type_in(talk, "Hi", "/clear", "Hi", "/bye")
    assert [body["messages"] for _path, _key, body in behaviour.asked] == [[USER], [USER]]


def test_a_model_is_chosen_out_of_those_that_are_there(talk: Conversation, behaviour: llama.Behaviour) -> None:
    type_in(talk, "/model", "/model smal\x1b", "/models", "/model large", "Hi", "/model", "/quit")
    assert [body.get("model") for _path, _key, body in behaviour.asked if body] == ["large"]
    lines = said(talk).splitlines()
    assert lines[1:6] == [
        "Model: small",
        "The server has no model 'smal\\x1b'. Fix: Use small, or see /models.",
        "small",
        "large",
        "Model: large",
    ]
    assert lines[-1] == "Model: large"


def test_commands_of_a_server_that_refuses_are_sentences(talk: Conversation, behaviour: llama.Behaviour) -> None:
    behaviour.refusal = (401, {})
    assert type_in(talk, "/models", "/model small", EOFError()) == 0
    assert said(talk).count("Error: The server wants another API key.") == 2
    assert talk.model == ""


def test_help_lists_the_commands_and_unknown_ones_are_not_sent(talk: Conversation, behaviour: llama.Behaviour) -> None:
    type_in(talk, "/help", "/sistem x", "", "/system", EOFError())
    assert session.HELP in said(talk)
    assert "There is no command /sistem; /help lists them." in said(talk)
    assert "There is no system prompt now." in said(talk)
    assert behaviour.asked == []


def test_a_path_is_a_question(talk: Conversation, behaviour: llama.Behaviour) -> None:
    type_in(talk, "/etc/fstab: what is it?", EOFError())
    assert behaviour.asked[0][2]["messages"][0]["content"] == "/etc/fstab: what is it?"


def test_ctrl_c_at_the_prompt_leaves_nothing(talk: Conversation, behaviour: llama.Behaviour) -> None:
    assert type_in(talk, KeyboardInterrupt(), "Hi", EOFError()) == 0
    assert "Ctrl-D or /exit leaves." in said(talk)
    assert len(behaviour.asked) == 1


def test_ctrl_c_stops_an_answer_and_keeps_what_was_said(talk: Conversation, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Server.answer

    def interrupted(self: Server, *arguments: typing.Any, **options: typing.Any) -> Iterator[typing.Any]:
        yield next(whole(self, *arguments, **options))
        raise KeyboardInterrupt

    monkeypatch.setattr(Server, "answer", interrupted)
    assert type_in(talk, "Hi", EOFError()) == 0
    assert talk.messages == [USER, {"role": "assistant", "content": "Blue"}]
    assert "Blue\nStopped.\n" in said(talk)


def test_one_question_prints_the_answer_only(talk: Conversation) -> None:
    assert session.once(talk, "Hi") == 0
    assert said(talk) == "Blue sky.\n"


def test_an_empty_answer_is_an_error(talk: Conversation, behaviour: llama.Behaviour) -> None:
    behaviour.chunks = [llama.chunk("")]
    with pytest.raises(FleetError, match="answer is empty"):
        session.once(talk, "Hi")


def test_one_question_that_is_refused_is_an_error(talk: Conversation, behaviour: llama.Behaviour) -> None:
    behaviour.refusal = (500, {})
    with pytest.raises(ServerError):
        session.once(talk, "Hi")


@pytest.mark.parametrize(
    ("text", "completions"), [("/mod", ["/model", "/models"]), ("/", list(session._COMMANDS)), ("mod", []), ("", [])]
)
def test_commands_are_completed(text: str, completions: list[str]) -> None:
    assert session._completions(text) == completions
