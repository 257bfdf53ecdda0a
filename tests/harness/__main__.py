"""Runs the steps of the test suite one after the other, goes on after a failure, and sums up."""

from __future__ import annotations

import argparse
import sys
import time

from tests.harness import steps
from tests.harness.context import Context, FailedError, SkippedError


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests/run", description=__doc__)
    parser.add_argument("--list", action="store_true", help="name the steps and what they do")
    parser.add_argument("names", nargs="*", metavar="STEP", help="steps to run, or 'quick'; none: all of them")
    arguments = parser.parse_args()
    if arguments.list:
        for step in steps.ALL:
            print(f"{step.name:16} {'quick' if step.quick else '     '}  {step.purpose}")
        return 0
    unknown = sorted(set(arguments.names) - {step.name for step in steps.ALL} - {"quick"})
    if unknown:
        parser.error(f"no such step: {', '.join(unknown)} (tests/run --list names them)")
    wanted = [step for step in steps.ALL if not arguments.names or step.name in arguments.names or (step.quick and "quick" in arguments.names)]
    return _run(wanted)


def _run(wanted: list[steps.Step]) -> int:
    context = Context.create()
    rows: list[tuple[str, str, float, str]] = []
    begun = time.monotonic()
    for number, step in enumerate(wanted, 1):
        print(f"\n=== {number}/{len(wanted)} {step.name}: {step.purpose}", flush=True)
        started = time.monotonic()
        outcome, reason = _outcome(context, step)
        seconds = time.monotonic() - started
        print(f"--- {step.name}: {outcome} after {seconds:.0f} s{f' ({reason})' if reason else ''}", flush=True)
        rows.append((step.name, outcome, seconds, reason))
        context.outcomes[step.name] = outcome
    print(f"\n=== Summary after {(time.monotonic() - begun) / 60:.1f} min")
    for name, outcome, seconds, reason in rows:
        print(f"{outcome:8} {name:16} {seconds:6.0f} s  {reason}")
    counts = {kind: sum(row[1] == kind for row in rows) for kind in ("passed", "failed", "skipped")}
    print(f"{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped")
    return 1 if counts["failed"] else 0


def _outcome(context: Context, step: steps.Step) -> tuple[str, str]:
    try:
        step.run(context)
    except SkippedError as reason:
        return "skipped", str(reason)
    except FailedError as reason:
        return "failed", str(reason)
    return "passed", ""


sys.exit(main())
