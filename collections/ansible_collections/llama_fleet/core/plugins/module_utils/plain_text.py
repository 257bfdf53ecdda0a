# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Show untrusted text, and read whole numbers in it."""

from __future__ import annotations

import re


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
