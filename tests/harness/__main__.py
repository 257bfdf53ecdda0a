"""Run the steps of the test suite, continue after a failure, and print a summary."""

from __future__ import annotations

import argparse
import concurrent.futures
import dataclasses
import os
import pathlib
import shutil
import signal
import sys
import time

from tests.harness import skips, steps
from tests.harness.context import Context, FailedError, SkippedError
from tests.harness.turns import Turns


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests/run", description=__doc__)
    parser.add_argument("--list", action="store_true", help="name the steps and what they do")
    parser.add_argument(
        "names", nargs="*", metavar="STEP", help="steps to run, or 'quick'; none: all but those to be run by name"
    )
    arguments = parser.parse_args()
    if arguments.list:
        for step in steps.ALL:
            print(f"{step.name:16} {_kind(step):8}  {step.purpose}")
        return 0
    unknown = sorted(set(arguments.names) - {step.name for step in steps.ALL} - {"quick"})
    if unknown:
        parser.error(f"no such step: {', '.join(unknown)} (tests/run --list names them)")
    # A shell ignores SIGINT in background jobs; without this line steps could not be asked to clean up.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    return _run([step for step in steps.ALL if _wanted(step, arguments.names)])


def _wanted(step: steps.Step, names: list[str]) -> bool:
    return step.name in names or (step.quick and "quick" in names) or (step.default and not names)


def _kind(step: steps.Step) -> str:
    return "quick" if step.quick else "" if step.default else "by name"


def _run(wanted: list[steps.Step]) -> int:
    context = Context.create()
    turns, begun, before = Turns(wanted), time.monotonic(), _cores()
    # Two workers: one shows its output at once, the other keeps its output until a step has ended.
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        beside = pool.submit(_work, context.beside(), turns)
        rows = _work(context, turns) + beside.result()
    shutil.rmtree(context.reports)
    print(f"\n=== Summary after {(time.monotonic() - begun) / 60:.1f} min{_shares(before, _cores())}")
    for row in rows:
        print(f"{row.outcome:8} {row.name:16} {row.seconds:6.0f} s  {row.reason}")
    counts = {kind: sum(row.outcome == kind for row in rows) for kind in ("passed", "failed", "skipped")}
    print(f"{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped")
    left_out = _tell_skipped(context, {row.name for row in rows})
    return 1 if counts["failed"] or (left_out and os.environ.get("CI") == "true") else 0


def _tell_skipped(context: Context, names: set[str]) -> int:
    """Print which tests no step of this run ran, and why; return how many of them it should have run."""
    skipped = skips.nowhere(context.tests)
    left_out = skips.unexpected(skipped, names)
    print(f"{len(skipped)} tests were skipped and ran in no other step, {len(left_out)} of them unexpectedly")
    for line in skips.told(skipped):
        print(line)
    if left_out and os.environ.get("CI") == "true":
        print("CI is set, so the run fails because of these tests, which this machine should have run:")
        for line in skips.told(left_out):
            print(line)
    return len(left_out)


def _cores() -> dict[str, int]:
    """Return what the machine's cores have done since boot, in ticks (proc(5))."""
    try:
        line = pathlib.Path("/proc/stat").read_text(encoding="ascii").partition("\n")[0]
    except OSError:
        return {}
    user, nice, system, idle, waiting, interrupts, soft, stolen = (int(word) for word in line.split()[1:9])
    return {"used": user + nice + system + interrupts + soft, "idle": idle + waiting, "given to other machines": stolen}


def _shares(before: dict[str, int], after: dict[str, int]) -> str:
    """Return the shares of used, idle and stolen time, because a virtual machine may get less CPU than it seems to
    have.
    """
    spent = {kind: after[kind] - before[kind] for kind in after}
    whole = sum(spent.values())
    return (
        f", of {os.cpu_count()} cores: {', '.join(f'{ticks / whole:.0%} {kind}' for kind, ticks in spent.items())}"
        if whole
        else ""
    )


@dataclasses.dataclass(frozen=True)
class Row:
    """The outcome of a step."""

    name: str
    outcome: str
    seconds: float
    reason: str


def _work(context: Context, turns: Turns) -> list[Row]:
    rows = []
    try:
        while step := turns.take():
            rows.append(_one(context, turns, step))
    except BaseException:
        turns.stop()
        raise
    return rows


def _one(context: Context, turns: Turns, step: steps.Step) -> Row:
    context.step = step.name
    context.say(f"\n=== {step.name}: {step.purpose}")
    started = time.monotonic()
    outcome, reason = _outcome(context, turns, step)
    seconds = time.monotonic() - started
    context.say(f"--- {step.name}: {outcome} after {seconds:.0f} s{f' ({reason})' if reason else ''}")
    context.flush()
    turns.ended(step, outcome)
    return Row(step.name, outcome, seconds, reason)


def _outcome(context: Context, turns: Turns, step: steps.Step) -> tuple[str, str]:
    try:
        if missing := turns.not_passed(step):
            raise SkippedError(f"needs what did not pass: {', '.join(missing)}")
        step.run(context)
    except SkippedError as reason:
        return "skipped", str(reason)
    except FailedError as reason:
        return "failed", str(reason)
    return "passed", ""


sys.exit(main())
