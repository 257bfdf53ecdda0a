"""Report skipped tests at the end of a run; in CI a skip needs a known reason."""

from __future__ import annotations

import collections
import dataclasses
import os
import re
import typing
import xml.etree.ElementTree as ET

if typing.TYPE_CHECKING:
    import pathlib

# Reasons that depend on the machine; no other step can help.
HARDWARE = ("needs a CPU with FMA", "AMX is a matter of x86-64", "there is a GPU here", "a rehearsal wants")
# Environment variables that tests need, and the step that sets each.
ELSEWHERE = {"LLAMA_FLEET_TEST_RELEASE": "server", "LLAMA_FLEET_TEST_MODEL": "server", "LLAMA_FLEET_TEST_OLAH": "olah"}
_COLLECTION = "collections.ansible_collections.llama_fleet.core."


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The outcome of one test in one step; ``reason`` is empty unless the test was skipped."""

    step: str
    test: str
    reason: str = ""


def read(report: pathlib.Path, step: str) -> list[Outcome]:
    """Return the passed and skipped tests of a JUnit report, or an empty list if there is no report."""
    if not report.exists():
        return []
    outcomes = []
    for case in ET.parse(report).iter("testcase"):
        # A file that is skipped as a whole has no class and only its own name.
        test = "::".join(
            filter(
                None,
                (case.get("classname", "").removeprefix(_COLLECTION), case.get("name", "").removeprefix(_COLLECTION)),
            )
        )
        skipped = case.find("skipped")
        if skipped is not None and skipped.get("type") != "pytest.xfail":
            outcomes.append(Outcome(step, test, _reason(skipped)))
        elif skipped is None and case.find("failure") is None and case.find("error") is None:
            outcomes.append(Outcome(step, test))
    return outcomes


def _reason(skipped: ET.Element) -> str:
    """Return why a test was skipped; for a whole file only the element's text says so."""
    whole = re.search(r"'Skipped: (.*)'\)", skipped.text or "")
    return whole[1] if whole else skipped.get("message") or "no reason"


def nowhere(outcomes: typing.Iterable[Outcome]) -> list[Outcome]:
    """Return the tests that were skipped and passed in no other step."""
    known = list(outcomes)
    passed = {outcome.test for outcome in known if not outcome.reason}
    return [outcome for outcome in known if outcome.reason and outcome.test not in passed]


def unexpected(skipped: typing.Iterable[Outcome], steps: typing.Collection[str]) -> list[Outcome]:
    """Return those that a run of ``steps`` should have run: the machine had everything, and the providing step ran."""

    def is_expected(outcome: Outcome) -> bool:
        absent = [name for name, step in ELSEWHERE.items() if step not in steps]
        rights = ["needs root"] if os.geteuid() else []
        return any(part in outcome.reason for part in (*HARDWARE, *rights, *absent))

    return [outcome for outcome in skipped if not is_expected(outcome)]


def told(skipped: typing.Sequence[Outcome]) -> list[str]:
    """Return lines that say how many tests of which files were skipped, and why."""
    groups = collections.Counter((outcome.step, outcome.test.split("::")[0], outcome.reason) for outcome in skipped)
    return [f"{count:4} in {step}: {file}: {reason}" for (step, file, reason), count in sorted(groups.items())]
