# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""What is wrong, what was found, what was wanted and what to do: the one shape of every error."""

from __future__ import annotations

import dataclasses
import difflib
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils import untrusted

# What a compiler or a server said last may be in it.
_LONGEST = 1 << 16


@dataclasses.dataclass(frozen=True)
class Problem:
    """One thing that stops a stage.

    ``subject`` is what the user can change: a role variable (``llama_server_port``) or a thing
    on the host (``compiler``, ``disk space``). ``found`` and ``wanted`` are noun phrases, ``fix``
    is an imperative sentence without its full stop, or empty where ``wanted`` already says it.
    """

    subject: str
    found: str
    wanted: str
    fix: str = ""

    def __str__(self) -> str:
        sentence = f"{self.subject}: found {self.found}, wanted {self.wanted}"
        # Names of files, answers of servers and output of commands are in it: none of them may write to a terminal as
        # it likes.
        return untrusted.printable(f"{sentence}; {self.fix}." if self.fix else f"{sentence}.", _LONGEST)


class ProblemError(Exception):
    """One or more problems, found together, told together."""

    def __init__(self, *problems: Problem) -> None:
        self.problems: tuple[Problem, ...] = problems
        super().__init__("\n".join(str(problem) for problem in problems))


def raise_if_any(problems: typing.Iterable[Problem]) -> None:
    """Raise one ProblemError that holds all of ``problems``, if there is one at all."""
    found = tuple(problems)
    if found:
        raise ProblemError(*found)


def nearest(name: str, known: typing.Iterable[str], count: int = 3) -> list[str]:
    """The names out of ``known`` that ``name`` was most likely meant to be, best first."""
    return difflib.get_close_matches(name, sorted(known), n=count, cutoff=0.6)


def one_of(names: typing.Iterable[str]) -> str:
    """``a, b or c``: a list of names for a sentence."""
    items = list(names)
    return " or ".join(filter(None, [", ".join(items[:-1]), items[-1] if items else ""]))
