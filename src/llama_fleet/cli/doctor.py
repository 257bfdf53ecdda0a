# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Show the checks of the command doctor, and derive its exit status."""

import enum
from collections.abc import Iterator

from rich.text import Text

from ansible_collections.llama_fleet.core.plugins.module_utils.preflight.check import cells
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import sentence
from llama_fleet.cli import views
from llama_fleet.cli.views import Facts, Rows
from llama_fleet.errors import ExitCode
from llama_fleet.run import console, events
from llama_fleet.run.events import Failure, Outcome

ROLE = "preflight_info"
HELP = """Check whether `up` with the same arguments would succeed, without changing anything.

Checks GPUs and driver, compiler, Python, permissions, disks, memory, processors, runtime, port and clock of every
host, and whether it reaches the source, the Hub and the package index. Takes the MODEL and options of `up`.

\b
Exit status: 0 success, 1 warnings, 2 something will fail or wrong usage, 3 host unreachable.
"""
_STYLES = {"ok": "green", "warning": "yellow", "error": "red"}
_UNREACHABLE = "unreachable"
_WORST_FIRST = ("error", "warning", "ok")


class Verdict(enum.IntEnum):
    """An exit status that only doctor has."""

    WARNINGS = 1
    WILL_FAIL = 2


def rows(outcome: Outcome) -> Rows:
    """Return every check of every host. A host that gave no answer gets a row that says why."""
    checks = [{"host": host, **check} for host, result in outcome.of_role(ROLE).items() for check in result["checks"]]
    checks += [{"host": failure.host, **row} for failure in outcome.unanswered(ROLE) for row in _failed(failure)]
    # A stable sort keeps the order of the checks of each host.
    return sorted(checks, key=lambda row: str(row["host"]))


def _failed(failure: Failure) -> Iterator[dict[str, str]]:
    """Yield the rows of a host that gave no answer."""
    if failure.unreachable:
        fix = "check its name and address, the network, and the SSH user and key"
        yield _row(
            _UNREACHABLE,
            "host",
            f"no connection ({' '.join(failure.text.split())})",
            "a host that Ansible reaches",
            fix,
        )
    elif failure.problems:
        for problem in failure.problems:
            yield _row("variables", problem["subject"], problem["found"], problem["wanted"], problem.get("fix", ""))
    else:
        yield _row("failed", "host", failure.text, "a host that can be looked at", "run it again with -v to see more")


def _row(code: str, subject: str, found: str, wanted: str, fix: str) -> dict[str, str]:
    return {"code": code, "severity": "error", "subject": subject, "found": found, "wanted": wanted, "fix": fix}


def _columns(row: Facts) -> dict[str, Text]:
    columns = {name: Text(cell, overflow="fold") for name, cell in cells(row).items()}
    columns[""].stylize(_STYLES[row["severity"]])
    return {"HOST": Text(row["host"]), **columns}


def _remarks(outcome: Outcome) -> Iterator[Text]:
    """Yield what is expected and the fix of each problem, errors before warnings."""
    bad = [row for row in rows(outcome) if row["severity"] != "ok"]
    for row in sorted(bad, key=lambda row: _WORST_FIRST.index(row["severity"])):
        host = "" if row["host"] in ("", events.LOCALHOST) else f"{row['host']}: "
        yield Text(sentence(f"{host}{row['subject']}", row["wanted"], fix=row["fix"]), _STYLES[row["severity"]])


def exit_status(outcome: Outcome) -> int:
    """Return the exit status. An unreachable host comes first, because the answer is incomplete without it."""
    checks = rows(outcome)
    if any(row["code"] == _UNREACHABLE for row in checks):
        return ExitCode.UNREACHABLE
    severities = {row["severity"] for row in checks}
    if "error" in severities:
        return Verdict.WILL_FAIL
    return Verdict.WARNINGS if "warning" in severities else ExitCode.OK


def _of_no_host(outcome: Outcome) -> Iterator[str]:
    return (console.failure_text(failure) for failure in outcome.failures if not failure.host)


VIEW = views.View(
    rows=rows,
    columns=_columns,
    remarks=_remarks,
    exit_status=exit_status,
    failures=_of_no_host,
    wrapped=("CHECK", "FOUND"),
)
