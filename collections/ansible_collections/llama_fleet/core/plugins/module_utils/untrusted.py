# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Validate values from untrusted sources: JSON, names and texts of the Hub, an index, a file, a client or a host.

A reader states a shape, calls ``parse`` or ``check``, and uses only the result: values of known types, lengths and
patterns, without keys that the shape does not name.
"""

from __future__ import annotations

import dataclasses
import json
import math
import posixpath
import re
import typing
import urllib.parse

from ansible_collections.llama_fleet.core.plugins.module_utils.plain_text import line, printable

# Default limit in bytes or characters: no document whose reader sets no other limit is longer than a megabyte.
LONGEST = 1 << 20
_SHOWN = 60
_LONGEST_NAME = 255
SHA256 = r"[0-9a-f]{64}"
COMMIT = r"[0-9a-f]{40}"
# A path component that cannot be an option, a hidden file or a parent folder.
NAME = r"[A-Za-z0-9][A-Za-z0-9._+-]{0,199}"


class ShapeError(ValueError):
    """An untrusted value is invalid; the message is a clause: ``files[3].size is text, expected a whole number``."""


@dataclasses.dataclass(frozen=True)
class Text:
    """A string of at most ``most`` characters that matches ``pattern``; by default any printable single line."""

    pattern: str = ""
    most: int = 4096

    def __call__(self, value: object, where: str) -> str:
        if not isinstance(value, str):
            raise _wrong(where, value, "a text")
        if len(value) > self.most:
            raise ShapeError(f"{where} has {len(value)} characters, expected {self.most} at most")
        if not value.isprintable() or (self.pattern and re.fullmatch(self.pattern, value) is None):
            raise _wrong(where, value, f"a text like {self.pattern}" if self.pattern else "printable text")
        return value


@dataclasses.dataclass(frozen=True)
class Word:
    """A string that can be a file name or an argument: UTF-8 without NUL, of at most ``most`` characters."""

    most: int = 65_536

    def __call__(self, value: object, where: str) -> str:
        if not isinstance(value, str):
            raise _wrong(where, value, "a text")
        if len(value) > self.most:
            raise ShapeError(f"{where} has {len(value)} characters, expected {self.most} at most")
        if re.search("[\0\ud800-\udfff]", value):
            raise _wrong(where, value, "text without NUL and surrogates")
        return value


@dataclasses.dataclass(frozen=True)
class Said:
    """A text with any characters, truncated to ``most`` characters and escaped for a terminal."""

    most: int = 4096

    def __call__(self, value: object, where: str) -> str:
        if not isinstance(value, str):
            raise ShapeError(f"{where} is not a text, expected one")
        return printable(value, self.most)


@dataclasses.dataclass(frozen=True)
class Inside:
    """A printable relative path in its simplest spelling that only leads downwards: no ``..``, no root."""

    most: int = 1024

    def __call__(self, value: object, where: str) -> str:
        path = Text(most=self.most)(value, where)
        parts = path.split("/")
        if path in ("", ".") or path.startswith("/") or posixpath.normpath(path) != path or ".." in parts:
            raise _wrong(where, value, "a relative path without '..'")
        if max(len(part.encode("utf-8")) for part in parts) > _LONGEST_NAME:
            raise ShapeError(f"{where} has a name of more than {_LONGEST_NAME} bytes in it")
        return path


@dataclasses.dataclass(frozen=True)
class Address:
    """An http or https URL with a host; a relative one is joined to ``base``."""

    base: str = ""

    def __call__(self, value: object, where: str) -> str:
        given = Text(most=8192)(value, where)
        try:
            url = urllib.parse.urljoin(self.base, given)
            parts = urllib.parse.urlsplit(url)
            usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
            usable = usable and not re.search(r"\s", url)
        except ValueError:
            usable = False
        if not usable:
            raise _wrong(where, value, "an http or https URL")
        return url


@dataclasses.dataclass(frozen=True)
class Number:
    """A whole number from ``least`` to ``most``; JSON's ``true`` is not one."""

    least: int = 0
    most: int = (1 << 63) - 1

    def __call__(self, value: object, where: str) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not self.least <= value <= self.most:
            raise _wrong(where, value, f"a whole number from {self.least} to {self.most}")
        return value


@dataclasses.dataclass(frozen=True)
class Real:
    """A finite number from ``least`` to ``most``."""

    least: float = 0.0
    most: float = 1e18

    def __call__(self, value: object, where: str) -> float:
        if (
            not isinstance(value, (int, float))
            or isinstance(value, bool)
            or not self.least <= value <= self.most
            or not math.isfinite(value)
        ):
            raise _wrong(where, value, f"a number from {self.least:g} to {self.most:g}")
        return float(value)


@dataclasses.dataclass(frozen=True)
class Flag:
    """True or false."""

    def __call__(self, value: object, where: str) -> bool:
        if not isinstance(value, bool):
            raise _wrong(where, value, "true or false")
        return value


Shape = typing.Callable[[object, str], typing.Any]


@dataclasses.dataclass(frozen=True)
class Maybe:
    """A value of another shape, or null, which becomes ``otherwise``."""

    of: Shape
    otherwise: typing.Any = None

    def __call__(self, value: object, where: str) -> typing.Any:
        return self.otherwise if value is None else self.of(value, where)


@dataclasses.dataclass(frozen=True)
class Many:
    """A list of ``least`` to ``most`` values of one shape."""

    of: Shape
    most: int = 10_000
    least: int = 0

    def __call__(self, value: object, where: str) -> list[typing.Any]:
        if not isinstance(value, list):
            raise _wrong(where, value, "a list")
        if len(value) > self.most:
            raise ShapeError(f"{where} has {len(value)} entries, expected {self.most} at most")
        if len(value) < self.least:
            raise ShapeError(f"{where} has {len(value)} entries, expected {self.least} at least")
        return [self.of(each, f"{where}[{number}]") for number, each in enumerate(value)]


@dataclasses.dataclass(frozen=True)
class Table:
    """An object of at most ``most`` entries whose keys have one shape and whose values another."""

    of: Shape
    keys: Shape = Text(most=200)
    most: int = 10_000

    def __call__(self, value: object, where: str) -> dict[str, typing.Any]:
        if not isinstance(value, dict):
            raise _wrong(where, value, "an object")
        if len(value) > self.most:
            raise ShapeError(f"{where} has {len(value)} entries, expected {self.most} at most")
        return {
            self.keys(name, f"a name in {where}"): self.of(each, _below(where, name)) for name, each in value.items()
        }


@dataclasses.dataclass(frozen=True)
class Plain:
    """Any JSON of at most ``deep`` levels with Words and finite numbers, only to be compared, copied or shown."""

    deep: int = 12

    def __call__(self, value: object, where: str) -> typing.Any:
        if isinstance(value, (dict, list)) and not self.deep:
            raise ShapeError(f"{where} has too many levels")
        inner = Plain(self.deep - 1)
        if isinstance(value, dict):
            return {
                Word()(name, f"a name in {where}"): inner(each, _below(where, name)) for name, each in value.items()
            }
        if isinstance(value, list):
            return [inner(each, f"{where}[{number}]") for number, each in enumerate(value)]
        if isinstance(value, str):
            return Word()(value, where)
        return value if value is None or isinstance(value, bool) else _finite(value, where)


@dataclasses.dataclass(frozen=True)
class Record:
    """An object with the ``needed`` keys and any of the ``optional`` ones.

    Other keys are dropped, unless ``others`` is their shape.
    """

    needed: typing.Mapping[str, Shape] = dataclasses.field(default_factory=dict)
    optional: typing.Mapping[str, Shape] = dataclasses.field(default_factory=dict)
    others: Shape | None = None

    def __call__(self, value: object, where: str) -> dict[str, typing.Any]:
        if not isinstance(value, dict):
            raise _wrong(where, value, "an object")
        missing = [name for name in self.needed if name not in value]
        if missing:
            raise ShapeError(f"{where} has no {missing[0]}")
        others = {Word()(name, f"a name in {where}"): self.others for name in value} if self.others else {}
        shapes = {**others, **self.needed, **self.optional}
        return {name: shape(value[name], _below(where, name)) for name, shape in shapes.items() if name in value}


def parse(text: str | bytes | bytearray, shape: Shape, where: str = "the document", limit: int = LONGEST) -> typing.Any:
    """Return the JSON document ``text``, of at most ``limit`` characters or bytes, validated. Raises ShapeError."""
    if len(text) > limit:
        raise ShapeError(f"{where} is longer than {limit} bytes")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):  # ValueError also for numbers of thousands of digits and invalid UTF-8
        raise ShapeError(f"{where} is not JSON") from None
    return shape(value, where)


def check(value: object, shape: Shape, where: str = "the answer") -> typing.Any:
    """Return ``value``, which is already parsed, validated against ``shape``. Raises ShapeError."""
    return shape(value, where)


def lenient(value: object, shape: Shape, otherwise: typing.Any) -> typing.Any:
    """Return ``value`` validated, or ``otherwise`` if it is invalid; only for values that nothing depends on."""
    try:
        return shape(value, "")
    except ShapeError:
        return otherwise


def _finite(value: object, where: str) -> int | float:
    return Number(-(1 << 63))(value, where) if isinstance(value, int) else Real(-1e308, 1e308)(value, where)


def _below(where: str, name: str) -> str:
    return f"{where}.{_short(name)}"


def _short(text: str) -> str:
    return line(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…")


def _wrong(where: str, value: object, expected: str) -> ShapeError:
    kinds = {dict: "an object", list: "a list", type(None): "null"}
    shown = kinds.get(type(value)) or (f"'{_short(value)}'" if isinstance(value, str) else _short(_number(value)))
    return ShapeError(f"{where} is {shown}, expected {expected}")


def _number(value: object) -> str:
    try:
        return str(value)
    except ValueError:  # Python does not format whole numbers of more than 4,300 digits
        return "a very large number"
