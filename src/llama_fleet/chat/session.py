# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Hold a conversation with a server, in one question or interactively."""

import contextlib
import dataclasses
import difflib
import importlib
import re
import typing
from collections.abc import Iterator

from llama_fleet import printed
from llama_fleet.chat.server import Message, Server
from llama_fleet.chat.shown import Display, Shown
from llama_fleet.errors import ExitCode, FleetError

HELP = """/model [NAME]   show or change the model
/models         list the models of the server
/system [TEXT]  set the system prompt, or remove it
/clear          forget the conversation
/help           show this
/exit           leave, as Ctrl-D does
Ctrl-C stops an answer."""
_LEAVING = ("/exit", "/quit", "/bye")
_COMMANDS = ("/model", "/models", "/system", "/clear", "/help", *_LEAVING)
_PROMPT = "> "


@dataclasses.dataclass
class Conversation:
    """The messages so far, and the model and system prompt of the next request."""

    server: Server
    display: Display
    model: str = ""
    system: str = ""
    messages: list[Message] = dataclasses.field(default_factory=list)

    def ask(self, text: str) -> Shown:
        """Ask ``text`` and show the answer.

        An interrupted answer is kept as far as it was shown; after an error nothing is kept. Raises ServerError,
        UnreachableError and KeyboardInterrupt.
        """
        question: Message = {"role": "user", "content": text}
        begin: list[Message] = [{"role": "system", "content": self.system}] if self.system else []
        options = {"model": self.model} if self.model else {}
        shown = Shown()
        try:
            self.display.show(self.server.answer([*begin, *self.messages, question], **options), shown)
        except KeyboardInterrupt:
            self._keep(question, shown)
            raise
        self._keep(question, shown)
        return shown

    def _keep(self, question: Message, shown: Shown) -> None:
        if shown.text:
            self.messages += [question, {"role": "assistant", "content": shown.text}]


def once(conversation: Conversation, text: str) -> int:
    """Ask one question. Return the exit status. Raises FleetError."""
    shown = conversation.ask(text)
    if not shown.text and not shown.reasoning:
        raise FleetError("The server's answer is empty.")
    return ExitCode.OK


def interactive(conversation: Conversation, read: typing.Callable[[str], str] = input) -> int:
    """Ask what the user types until /exit or Ctrl-D. Return the exit status."""
    display = conversation.display
    display.remark("/help lists the commands; Ctrl-D leaves.")
    with _line_editing():
        while True:
            try:
                line = read(_PROMPT).strip()
            except EOFError:
                display.remark("")
                return ExitCode.OK
            except KeyboardInterrupt:
                display.remark("\nCtrl-D or /exit leaves.")
                continue
            if line in _LEAVING:
                return ExitCode.OK
            try:
                _turn(conversation, line)
            except KeyboardInterrupt:
                display.remark("Stopped.")
            except FleetError as error:
                display.remark(f"Error: {printed.text(str(error))}")


def _turn(conversation: Conversation, line: str) -> None:
    """Carry out a command, or ask the server."""
    # A path, for example, is part of a question.
    if re.fullmatch(r"/[a-z]+(\s.*)?", line):
        word, _blank, rest = line.partition(" ")
        conversation.display.remark(_commanded(conversation, word, rest.strip()))
    elif line:
        conversation.display.remark(f"[{conversation.ask(line).figures()}]")


def _commanded(conversation: Conversation, word: str, rest: str) -> str:
    """Carry out the command ``word``. Return what to say. Raises ServerError and UnreachableError."""
    if word == "/models":
        return "\n".join(map(printed.one_line, conversation.server.models())) or "The server lists no model."
    if word == "/model":
        return _model(conversation, rest)
    if word == "/system":
        conversation.system = rest
        return "The system prompt is set." if rest else "There is no system prompt now."
    if word == "/clear":
        conversation.messages = []
        return "The conversation is forgotten."
    return HELP if word == "/help" else f"There is no command {word}; /help lists them."


def _model(conversation: Conversation, name: str) -> str:
    models = conversation.server.models()
    if not name:
        return f"Model: {printed.one_line(conversation.model or ', '.join(models[:1]))}"
    if name not in models:
        nearest = difflib.get_close_matches(name, models, n=1, cutoff=0.0)
        hint = f" Fix: Use {printed.one_line(nearest[0])}, or see /models." if nearest else ""
        return f"The server has no model '{printed.one_line(name)}'.{hint}"
    conversation.model = name
    return f"Model: {printed.one_line(name)}"


@contextlib.contextmanager
def _line_editing() -> Iterator[None]:
    """Edit lines with readline, whose history ends with the session, and complete commands."""
    try:
        readline = importlib.import_module("readline")
    except ImportError:  # a Python without it
        yield
        return
    former = readline.get_completer(), readline.get_completer_delims()
    readline.set_completer(lambda text, state: dict(enumerate(_completions(text))).get(state))
    readline.set_completer_delims(" ")
    readline.parse_and_bind("tab: complete")
    try:
        yield
    finally:
        readline.set_completer(former[0])
        readline.set_completer_delims(former[1])


def _completions(text: str) -> list[str]:
    return [command for command in _COMMANDS if command.startswith(text)] if text.startswith("/") else []
