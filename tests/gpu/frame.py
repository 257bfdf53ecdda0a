# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Phases run one after the other, each in a process of its own, under a budget; a second call goes on where the
first one ended.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import fcntl
import multiprocessing
import os
import pathlib
import signal
import sys
import time
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.host import processes
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.options import INSTANCE_VARIABLE
from tests.gpu import journal
from tests.gpu.journal import Journal, Values
from tests.gpu.session import MARK, FailedError, NotHereError, Run

# Seconds of the budget in which nothing runs any more: what was ended is cleared away, and the results are shown.
RESERVE = 10.0
LOCK_TURNS = 100
_SWEEPS = 100
_PAUSE = 0.05
_PR_SET_PDEATHSIG = 1


def _always(_run: Run) -> bool:
    return True


@dataclasses.dataclass(frozen=True)
class Phase:
    """A part of a run; ``tests/gpu/phases/__init__.py`` says how one is written."""

    name: str
    run: typing.Callable[[Run], typing.Iterable[Values]]
    least_seconds: float | typing.Callable[[Run], float]
    needs: tuple[str, ...] = ()
    there: typing.Callable[[Run], bool] = _always

    def least(self, run: Run) -> float:
        """Seconds below which there is no use in beginning it."""
        return self.least_seconds(run) if callable(self.least_seconds) else self.least_seconds


def go(phases: typing.Sequence[Phase], run: Run) -> dict[str, str]:
    """Run the phases that are not done; returns each one's outcome.

    Whatever they have started is ended, also what an earlier call left.
    """
    notes = Journal(run.work)
    with _alone(run):
        sweep(run)
        try:
            for phase in phases:
                _turn(phase, run, notes)
        finally:
            sweep(run)
    ended = notes.outcomes()
    return {phase.name: ended[phase.name]["outcome"] for phase in phases}


def _turn(phase: Phase, run: Run, notes: Journal) -> None:
    ended = {name: record["outcome"] for name, record in notes.outcomes().items()}
    if ended.get(phase.name) == journal.NOT_HERE or (ended.get(phase.name) == journal.DONE and phase.there(run)):
        return
    missing = [name for name in phase.needs if ended.get(name) != journal.DONE]
    if missing:
        notes.conclude(phase.name, journal.SKIPPED, 0, f"needs {', '.join(missing)}")
    elif run.left() < phase.least(run):
        notes.conclude(
            phase.name, journal.SKIPPED, 0, f"needs {phase.least(run):.0f} s, and {max(0.0, run.left()):.0f} s are left"
        )
    else:
        _run(phase, run, notes)
    told = notes.outcomes()[phase.name]
    sys.stderr.write(
        f"--- {phase.name}: {told['outcome']} after {told['seconds']} "
        f"s{': ' if told['reason'] else ''}{told['reason']}\n"
    )


def _run(phase: Phase, run: Run, notes: Journal) -> None:
    """Let the phase work in a child, no longer than the budget."""
    began, before = time.monotonic(), len(notes.records())
    child = multiprocessing.get_context("fork").Process(target=_work, args=(phase, run, notes, os.getpid()))
    child.start()
    try:
        # Without a budget there is no end; join takes no infinity.
        child.join(run.left() if run.limited else None)
        over = child.is_alive()
    finally:
        if child.is_alive():
            child.kill()
            child.join()
    if any(record.get("phase") == phase.name and "outcome" in record for record in notes.records()[before:]):
        return
    sweep(run)
    outcome, reason = (journal.ENDED, "the budget's end") if over else (journal.FAILED, _ending(child.exitcode or 0))
    notes.conclude(phase.name, outcome, time.monotonic() - began, reason)


def _ending(code: int) -> str:
    return f"killed by signal {-code}" if code < 0 else f"ended with {code}; see what it said above"


def _work(phase: Phase, run: Run, notes: Journal, parent: int) -> None:
    """Run the phase in the child; each result is on the disk before the next is measured."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        return
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.environ[MARK] = str(run.work)
    began = time.monotonic()
    outcome, reason = journal.DONE, ""
    try:
        for values in phase.run(run):
            notes.add(phase.name, values)
    except NotHereError as error:
        outcome, reason = journal.NOT_HERE, str(error)
    except (FailedError, OSError, AssertionError) as error:
        outcome, reason = journal.FAILED, str(error)
    notes.conclude(phase.name, outcome, time.monotonic() - began, reason)


@contextlib.contextmanager
def _alone(run: Run) -> typing.Iterator[None]:
    """Hold the lock of the work folder. Raise if another run holds it."""
    run.work.mkdir(parents=True, exist_ok=True)
    with (run.work / "lock").open("w") as file:
        # The phase of a run that was just killed holds it a moment longer.
        for _turn in range(LOCK_TURNS):
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            time.sleep(_PAUSE)
        else:
            raise FailedError(f"another run works in {run.work}")
        yield


def sweep(run: Run) -> None:
    """End every process that a phase of this folder has started and left: by its mark, its instance or its program."""
    for _sweep in range(_SWEEPS):
        found = _left_behind(run)
        if not found:
            return
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(_PAUSE)


def _left_behind(run: Run) -> list[int]:
    pids = [
        int(entry.name)
        for entry in pathlib.Path("/proc").iterdir()
        if entry.name.isdigit() and int(entry.name) != os.getpid()
    ]
    return [pid for pid in pids if _is_ours(pid, run)]


def _is_ours(pid: int, run: Run) -> bool:
    environment = processes.environment(pid)
    if environment.get(MARK) == str(run.work) or environment.get(INSTANCE_VARIABLE, "").startswith(f"{run.work}/"):
        return processes.find(pid) is not None
    try:
        program = os.readlink(f"/proc/{pid}/exe")
    except OSError:
        return False
    return program.startswith(f"{run.root}/") and processes.find(pid) is not None
