# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The one shape of every error: what was expected, what was found, and the fix."""

from __future__ import annotations

import dataclasses
import difflib
import re
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.plain_text import printable

# Characters of a message, because it may hold the last output of a compiler or a server.
_LONGEST = 1 << 16
# A first word that may be capitalised: no option, path, command with a hyphen, or name of a variable.
_PLAIN_WORD = re.compile(r"[a-z]+(?=[ ,:]|$)")


@dataclasses.dataclass(frozen=True)
class Problem:
    """One problem that stops a stage.

    ``subject`` is something the user can change: a role variable (``llama_server_port``) or a part of the host
    (``compiler``, ``disk space``). ``found`` and ``wanted`` are noun phrases. ``fix`` is an imperative sentence
    without a full stop, or empty if ``wanted`` already says what to do.
    """

    subject: str
    found: str
    wanted: str
    fix: str = ""

    def __str__(self) -> str:
        return sentence(self.subject, self.wanted, self.found, self.fix)


def sentence(subject: str, wanted: str, found: str = "", fix: str = "") -> str:
    """Return ``subject: expected …, found …. Fix: ….``, without the parts that are empty, safe for a terminal."""
    wanted = wanted.rstrip().removesuffix(".")
    parts = [_stopped(f"{subject}: expected {wanted}, found {found}" if found else f"{subject}: expected {wanted}")]
    if fix.strip():
        parts.append(_stopped(f"Fix: {fix[0].upper()}{fix[1:]}" if _PLAIN_WORD.match(fix) else f"Fix: {fix}"))
    # File names, answers of servers and output of commands are in it, which may hold a terminal's escape sequences.
    return printable(" ".join(parts), _LONGEST)


def _stopped(text: str) -> str:
    """Return ``text`` with a full stop, unless it ends a sentence or, by a newline, quotes lines of a log."""
    bare = text.rstrip()
    return bare if text.endswith("\n") or bare.endswith((".", "!", "?", "…")) else f"{bare}."


class ProblemError(Exception):
    """One or more problems that were found, and are reported, together."""

    def __init__(self, *problems: Problem) -> None:
        self.problems: tuple[Problem, ...] = problems
        super().__init__("\n".join(str(problem) for problem in problems))


def raise_if_any(problems: typing.Iterable[Problem]) -> None:
    """Raise one ProblemError that holds all of ``problems``; do nothing if there are none."""
    all_problems = tuple(problems)
    if all_problems:
        raise ProblemError(*all_problems)


def nearest(name: str, known: typing.Iterable[str], count: int = 3) -> list[str]:
    """Return up to ``count`` of the ``known`` names that ``name`` was most likely meant to be, best first."""
    return difflib.get_close_matches(name, sorted(known), n=count, cutoff=0.6)


def one_of(names: typing.Iterable[str]) -> str:
    """Join ``names`` for a sentence: ``a, b or c``."""
    items = list(names)
    return " or ".join(filter(None, [", ".join(items[:-1]), items[-1] if items else ""]))
