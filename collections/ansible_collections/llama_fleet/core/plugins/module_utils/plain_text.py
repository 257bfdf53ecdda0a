# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Show untrusted text, and read whole numbers in it."""

from __future__ import annotations

import re
import typing


def whole(text: str, otherwise: int | None = None) -> int | None:
    """Return the whole number in ``text`` (at most 18 plain digits), or ``otherwise``."""
    return int(text) if re.fullmatch("[0-9]{1,18}", text) else otherwise


def printable(text: str, most: int = 4096) -> str:
    """Escape the control and unassigned characters of ``text``, except line ends and tabs, for a terminal."""
    cut = text if len(text) <= most else f"{text[: most - 1]}…"
    return "".join(
        each if each.isprintable() or each in "\n\t" else each.encode("unicode_escape").decode("ascii") for each in cut
    )


def line(text: str, most: int = 1000) -> str:
    """Return ``text`` as one line for a terminal: like ``printable``, but with line ends and tabs escaped."""
    return printable(text, most).replace("\n", "\\n").replace("\t", "\\t")


def joined(rows: typing.Sequence[typing.Mapping[str, str]]) -> list[str]:
    """Return a line for the columns' names and one for each row, without columns that are empty in every row."""
    names = [name for name in (rows[0] if rows else ()) if any(row[name] for row in rows)]
    width = {name: max(len(name), *(len(row[name]) for row in rows)) for name in names}
    titled = [dict(zip(names, names)), *rows] if rows else []
    return ["  ".join(row[name].ljust(width[name]) for name in names).rstrip() for row in titled]
