"""Tests that were skipped: told at the end of a run, and none without a known reason where CI is set."""

from __future__ import annotations

import collections
import dataclasses
import os
import re
import typing
import xml.etree.ElementTree as ET

if typing.TYPE_CHECKING:
    import pathlib

# What a machine may lack: whoever wrote the test knew, and no other step can help.
HARDWARE = ("needs a CPU with FMA", "AMX is a matter of x86-64", "there is a GPU here", "a rehearsal wants")
# Tests that take what an environment variable names, and the step that sets it.
ELSEWHERE = {"LLAMA_FLEET_TEST_RELEASE": "server", "LLAMA_FLEET_TEST_MODEL": "server", "LLAMA_FLEET_TEST_OLAH": "olah"}
_COLLECTION = "collections.ansible_collections.llama_fleet.core."


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of one test in one step. ``reason`` is why it was skipped, empty where it was not."""

    step: str
    test: str
    reason: str = ""


def read(report: pathlib.Path, step: str) -> list[Outcome]:
    """The tests of a report as pytest writes it (JUnit's XML) that passed or were skipped; none where there is no
    report.
    """
    if not report.exists():
        return []
    outcomes = []
    for case in ET.parse(report).iter("testcase"):
        # A file that is skipped as a whole has no class, and its own name.
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
    """Why a test was skipped; of a whole file it stands in the element's text only."""
    whole = re.search(r"'Skipped: (.*)'\)", skipped.text or "")
    return whole[1] if whole else skipped.get("message") or "no reason"


def nowhere(outcomes: typing.Iterable[Outcome]) -> list[Outcome]:
    """The tests that were skipped and passed in no other step."""
    known = list(outcomes)
    passed = {outcome.test for outcome in known if not outcome.reason}
    return [outcome for outcome in known if outcome.reason and outcome.test not in passed]


def unexpected(skipped: typing.Iterable[Outcome], steps: typing.Collection[str]) -> list[Outcome]:
    """Those of them that a run of ``steps`` should have run: neither the machine's fault nor a matter of a step
    that is not of this run.
    """

    def is_expected(outcome: Outcome) -> bool:
        absent = [name for name, step in ELSEWHERE.items() if step not in steps]
        rights = ["needs root"] if os.geteuid() else []
        return any(part in outcome.reason for part in (*HARDWARE, *rights, *absent))

    return [outcome for outcome in skipped if not is_expected(outcome)]


def told(skipped: typing.Sequence[Outcome]) -> list[str]:
    """Lines that say how many tests of which files were skipped, and why."""
    groups = collections.Counter((outcome.step, outcome.test.split("::")[0], outcome.reason) for outcome in skipped)
    return [f"{count:4} in {step}: {file}: {reason}" for (step, file, reason), count in sorted(groups.items())]
