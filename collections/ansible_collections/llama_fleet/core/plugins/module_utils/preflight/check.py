# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Define Check, the shape of every finding of the preflight."""

from __future__ import annotations

import dataclasses
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.plain_text import joined
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError

OK, WARNING, ERROR = "ok", "warning", "error"
_WORST_FIRST = (ERROR, WARNING, OK)

Found = typing.Mapping[str, typing.Sequence["Check"]]


@dataclasses.dataclass(frozen=True)
class Check:
    """A finding. ``code`` is stable, for programs. A check that is OK has no ``wanted`` and no ``fix``."""

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
    """Return a check that passed."""
    return Check(code, OK, subject, found)


def wrong(code: str, problem: Problem, severity: str = ERROR) -> Check:
    """Return a check that failed with ``problem``."""
    return Check(code, severity, problem.subject, problem.found, problem.wanted, problem.fix)


def all_wrong(code: str, error: ProblemError) -> list[Check]:
    """Return a failed check for each problem of ``error``."""
    return [wrong(code, problem) for problem in error.problems]


def together(by_instance: Found) -> list[Check]:
    """Merge the checks of all instances: a shared one appears once, others name the instances they are about."""
    owners: dict[Check, list[str]] = {}
    for name, checks in by_instance.items():
        for check in checks:
            names = owners.setdefault(check, [])
            if name not in names:
                names.append(name)
    return [check if len(names) == len(by_instance) else _of(check, names) for check, names in owners.items()]


def _of(check: Check, names: typing.Sequence[str]) -> Check:
    of = f"instance {names[0]}" if len(names) == 1 else f"instances {', '.join(names[:-1])} and {names[-1]}"
    return dataclasses.replace(check, subject=f"{check.subject} of {of}")


def errors(checks: typing.Iterable[Check]) -> list[str]:
    """Return a sentence for each error, in the order of ``not_ok``."""
    return [str(check.problem) for check in not_ok(checks) if check.severity == ERROR]


def not_ok(checks: typing.Iterable[Check]) -> list[Check]:
    """Return the warnings and errors, errors first."""
    return sorted(
        (check for check in checks if check.severity != OK), key=lambda check: _WORST_FIRST.index(check.severity)
    )


def cells(check: typing.Mapping[str, str]) -> dict[str, str]:
    """Return the text of each column of the table of doctor, by the column's name."""
    return {"CHECK": check["subject"], "": check["severity"], "FOUND": check["found"]}


def table(checks: typing.Iterable[Check]) -> list[str]:
    """Return the table of a host's checks, followed by a sentence for each warning."""
    checks = list(checks)
    warnings = [str(check.problem) for check in checks if check.severity == WARNING]
    return [*joined([cells(dataclasses.asdict(check)) for check in checks]), *warnings]
