# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Quote environment files and command lines so that systemd reads back the exact values.

Values are one line of printable text; callers refuse everything else beforehand.
"""

from __future__ import annotations

import pathlib
import re
import string
import typing

_ROOT = pathlib.PurePosixPath("/")
_SLASH, _DOT = b"/."
# The characters of a unit's name that stand for themselves.
_NAME = string.ascii_letters + string.digits + ":_."
_PLAIN = re.compile(r"[A-Za-z0-9_./:,@+=-]+")
# Inside double quotes, both systemd and a POSIX shell read these four after a backslash literally.
_ESCAPED = re.compile(r'(["\\$`])')
_ESCAPE_PAIR = re.compile(r'\\(["\\$`])')


def is_one_line(value: str) -> bool:
    """Return whether ``value`` can be written: no newline, control or unassigned character."""
    return value.isprintable()


def environment_file(variables: typing.Mapping[str, str]) -> str:
    """Return the text of an EnvironmentFile=, sorted by name; a POSIX shell reads the same values from it."""
    return "".join(f"{name}={_environment_value(variables[name])}\n" for name in sorted(variables))


def _environment_value(value: str) -> str:
    return value if _PLAIN.fullmatch(value) else '"' + _ESCAPED.sub(r"\\\1", value) + '"'


def parse_environment_file(text: str) -> dict[str, str]:
    """Return the variables in a file that ``environment_file`` wrote."""
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
    """Return the text of an ExecStart=, quoted so that ``%`` and ``$`` are literal."""
    return " ".join(_command_word(argument) for argument in arguments)


def _command_word(argument: str) -> str:
    text = specifier_free(argument).replace("$", "$$")
    if _PLAIN.fullmatch(text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def specifier_free(value: str) -> str:
    """Escape ``%``, which begins a specifier in a unit's setting."""
    return value.replace("%", "%%")


def mount_units(paths: typing.Iterable[str]) -> list[str]:
    """Return the names that systemd gives to the mounts on which absolute ``paths`` may lie, without the root's."""
    places = [pathlib.PurePosixPath(path) for path in paths]
    folders = [str(folder) for place in places for folder in reversed([place, *place.parents]) if folder != _ROOT]
    return [f"{_mount_name(folder)}.mount" for folder in dict.fromkeys(folders)]


def _mount_name(folder: str) -> str:
    """Escape a path as ``systemd-escape --path`` does."""
    text = folder.strip("/").encode("utf-8")
    return "".join(
        "-" if byte == _SLASH else chr(byte) if chr(byte) in _NAME and (byte != _DOT or index) else f"\\x{byte:02x}"
        for index, byte in enumerate(text)
    )


def parse_command_line(text: str) -> list[str]:
    """Return the arguments in a line that ``command_line`` wrote."""
    words = re.findall(r'"((?:[^"\\]|\\.)*)"|(\S+)', text)
    return [(plain or re.sub(r"\\(.)", r"\1", quoted)).replace("$$", "$").replace("%%", "%") for quoted, plain in words]
