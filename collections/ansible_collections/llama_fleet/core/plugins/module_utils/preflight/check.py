# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The one shape of everything that is found out before a host is changed."""

from __future__ import annotations

import dataclasses
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError

OK, WARNING, ERROR = "ok", "warning", "error"
_WORST_FIRST = (ERROR, WARNING, OK)

Found = typing.Mapping[str, typing.Sequence["Check"]]


@dataclasses.dataclass(frozen=True)
class Check:
    """One thing that was looked at; what is OK wants nothing. ``code`` is stable, for programs."""

    code: str
    severity: str
    subject: str
    found: str
    wanted: str = ""
    fix: str = ""

    @property
    def problem(self) -> Problem:
        return Problem(self.subject, self.found, self.wanted, self.fix)


def fine(code: str, subject: str, found: str) -> Check:
    return Check(code, OK, subject, found)


def wrong(code: str, problem: Problem, severity: str = ERROR) -> Check:
    return Check(code, severity, problem.subject, problem.found, problem.wanted, problem.fix)


def all_wrong(code: str, error: ProblemError) -> list[Check]:
    return [wrong(code, problem) for problem in error.problems]


def together(found: Found) -> list[Check]:
    """The checks of all instances: once what they share, else with the names of those that it is about."""
    owners: dict[Check, list[str]] = {}
    for name, checks in found.items():
        for check in checks:
            names = owners.setdefault(check, [])
            if name not in names:
                names.append(name)
    return [check if len(names) == len(found) else _of(check, names) for check, names in owners.items()]


def _of(check: Check, names: typing.Sequence[str]) -> Check:
    of = f"instance {names[0]}" if len(names) == 1 else f"instances {', '.join(names[:-1])} and {names[-1]}"
    return dataclasses.replace(check, subject=f"{check.subject} of {of}")


def errors(checks: typing.Iterable[Check]) -> list[str]:
    """Return a sentence for each check that will fail, in the order of ``problems``."""
    return [str(check.problem) for check in problems(checks) if check.severity == ERROR]


def problems(checks: typing.Iterable[Check]) -> list[Check]:
    """Those that are not fine, the worst first."""
    return sorted(
        (check for check in checks if check.severity != OK), key=lambda check: _WORST_FIRST.index(check.severity)
    )
