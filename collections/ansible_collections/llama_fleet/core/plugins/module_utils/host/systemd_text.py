# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Values written so that systemd reads back exactly what was meant: environment files and command lines.

What is accepted is printable text on one line; everything else is refused before it comes here.
"""

from __future__ import annotations

import re
import typing

_PLAIN = re.compile(r"[A-Za-z0-9_./:,@+=-]+")
# Inside double quotes, systemd and a POSIX shell both read these four after a backslash as themselves.
_ESCAPED = re.compile(r'(["\\$`])')
_ESCAPE_PAIR = re.compile(r'\\(["\\$`])')


def is_one_line(value: str) -> bool:
    """Whether ``value`` can be written at all: no newline, no control or unassigned character."""
    return value.isprintable()


def environment_file(variables: typing.Mapping[str, str]) -> str:
    """Text for EnvironmentFile=, sorted by name. A POSIX shell reads the same values from it."""
    return "".join(f"{name}={_environment_value(variables[name])}\n" for name in sorted(variables))


def _environment_value(value: str) -> str:
    return value if _PLAIN.fullmatch(value) else '"' + _ESCAPED.sub(r"\\\1", value) + '"'


def parse_environment_file(text: str) -> dict[str, str]:
    """The variables in a file that ``environment_file`` wrote."""
    variables = {}
    for line in text.splitlines():
        name, separator, value = line.partition("=")
        if not separator or line.startswith("#"):
            continue
        if len(value) >= 2 and value[0] == value[-1] == '"':
            value = _ESCAPE_PAIR.sub(r"\1", value[1:-1])
        variables[name] = value
    return variables


def command_line(arguments: typing.Sequence[str]) -> str:
    """Text for ExecStart=: quoted words in which neither ``%`` nor ``$`` means anything."""
    return " ".join(_command_word(argument) for argument in arguments)


def _command_word(argument: str) -> str:
    text = specifier_free(argument).replace("$", "$$")
    if _PLAIN.fullmatch(text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def specifier_free(value: str) -> str:
    """``value`` for a unit's setting, in which ``%`` begins a specifier."""
    return value.replace("%", "%%")


def parse_command_line(text: str) -> list[str]:
    """The arguments in a line that ``command_line`` wrote."""
    words = re.findall(r'"((?:[^"\\]|\\.)*)"|(\S+)', text)
    return [(plain or re.sub(r"\\(.)", r"\1", quoted)).replace("$$", "$").replace("%%", "%") for quoted, plain in words]
