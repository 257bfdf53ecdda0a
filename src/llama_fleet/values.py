# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Parse the text of an option or environment variable into the value of a role variable."""

import json
import re
import typing
from collections.abc import Mapping

_TRUE = ("true", "yes", "on", "1")
_FALSE = ("false", "no", "off", "0")
KINDS = {
    "bool": "true or false",
    "dict": "NAME=VALUE pairs separated by commas, or a JSON object",
    "float": "a number",
    "int": "a whole number",
    "list": "values separated by commas",
    "path": "a path",
    "str": "a text",
}


def _boolean(text: str) -> bool:
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise ValueError(text)


def _integer(text: str) -> int:
    # int() also accepts 1_000 and blanks.
    if not re.fullmatch(r"-?[0-9]+", text):
        raise ValueError(text)
    return int(text)


def _number(text: str) -> float:
    # float() also accepts 1_0, nan and blanks.
    if not re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", text):
        raise ValueError(text)
    return float(text)


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _mapping(text: str) -> dict[str, object]:
    if text.lstrip().startswith("{"):
        try:
            return dict(json.loads(text))
        except RecursionError:
            raise ValueError(text[:200]) from None
    return dict(pair(word) for word in _words(text))


def pair(text: str) -> tuple[str, object]:
    """Parse ``NAME=VALUE``: true and false become booleans, any other value stays text. Raises ValueError."""
    name, mark, value = text.partition("=")
    if not name or not mark:
        raise ValueError(text)
    return name, {"true": True, "false": False}.get(value, value)


PARSERS: Mapping[str, typing.Callable[[str], object]] = {
    "bool": _boolean,
    "dict": _mapping,
    "float": _number,
    "int": _integer,
    "list": _words,
    "path": str,
    "str": str,
}
