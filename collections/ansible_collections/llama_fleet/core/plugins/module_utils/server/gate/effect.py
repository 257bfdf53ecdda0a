# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Prove by a running server and its log that the options it was given have an effect."""

from __future__ import annotations

import re
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.plain_text import printable
from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate.errors import GateError
from ansible_collections.llama_fleet.core.plugins.module_utils.untrusted import Flag, Many, Record, lenient

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate.client import Reply

# Lines of the log that a start and the gate's own requests may take.
LINES = 1000
_LONGEST = 300
_OK = 200
_SLOTS = Many(Record(optional={"speculative": Flag()}))
_DRAFTS = ("--model-draft", "--spec-draft-model")
_DRAFT_VARIABLES = ("LLAMA_ARG_SPEC_DRAFT_MODEL", "LLAMA_ARG_MODEL_DRAFT")
_IGNORES = re.compile(r"not supported|no effect|disabl|ignor|forcing off", re.IGNORECASE)
# Names in the log that differ from the flag's.
_LOGGED = {"context-shift": "ctx_shift", "flash-attn": "flash_attn"}
# systemd's own line before each start.
_STARTING = re.compile(r"Starting .*llama-server instance ")


def speculates(command: typing.Sequence[str], variables: typing.Mapping[str, str]) -> bool:
    """Return whether a server with this command line and environment was told to decode speculatively."""
    given = command[command.index("--spec-type") + 1] if "--spec-type" in command[:-1] else ""
    kind = given or variables.get("LLAMA_ARG_SPEC_TYPE", "")
    if kind:
        return kind != "none"
    drafts = any(word in command for word in _DRAFTS) or any(name in variables for name in _DRAFT_VARIABLES)
    return drafts or "--spec-default" in command


def prove_speculation(reply: Reply) -> str:
    """Return why the reply to /slots does not prove speculative decoding; empty if it does. Raises GateError."""
    slots = lenient(reply.body.get("items"), _SLOTS, []) if reply.status == _OK else []
    states = [slot["speculative"] for slot in slots if "speculative" in slot]
    if not states:
        return (
            "speculative decoding was not proved, because /slots does not tell: that needs llama_server_slots: true "
            "and a release that lists it"
        )
    if all(states):
        return ""
    raise GateError(
        "it does not decode speculatively, though it was told to: its log says why. A draft model needs the vocabulary "
        "of the model, and a type that fits it"
    )


def ignored(lines: typing.Sequence[str], options: typing.Iterable[str]) -> str:
    """Return the line of a server's log that says that it ignores one of the ``options``; empty without one.

    ``options`` are long names of flags. Lines before the last start belong to an earlier process.
    """
    starts = [number for number, line in enumerate(lines) if _STARTING.match(line)]
    names = {f"--{name}" for name in options}
    # A name of one word, such as special, is also a word of other lines.
    names |= {_LOGGED.get(name, name.replace("-", "_")) for name in options if "-" in name}
    words = re.compile("|".join(rf"(?<![\w-]){re.escape(name)}(?![\w-])" for name in sorted(names)))
    for line in lines[starts[-1] if starts else 0 :]:
        if names and words.search(line) and _IGNORES.search(line):
            return printable(line.strip(), _LONGEST)
    return ""
