# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The frame of tests/gpu/run with phases that are small: budget, kills, and a second call that goes on."""

from __future__ import annotations

import dataclasses
import math
import os
import signal
import subprocess
import sys
import time
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.host import processes
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.options import INSTANCE_VARIABLE
from tests.gpu import frame, journal
from tests.gpu.frame import Phase
from tests.gpu.journal import Journal, Values
from tests.gpu.session import CPU, MARK, FailedError, NotHereError, Run, shapes

if typing.TYPE_CHECKING:
    import pathlib


@pytest.fixture
def run(tmp_path: pathlib.Path) -> Run:
    (tmp_path / "work").mkdir()
    return Run(
        tmp_path,
        tmp_path / "work",
        tmp_path / "root",
        CPU,
        (shapes("Q8_0")["small"],),
        8,
        4,
        1,
        1,
        {"source": "", "pythons": []},
    )


def counted(name: str, run: Run) -> int:
    """Return how often a phase has begun."""
    file = run.work / f"{name}.count"
    return len(file.read_text()) if file.exists() else 0


def phase(
    name: str,
    *values: Values,
    then: typing.Callable[[Run], object] | None = None,
    least: float = 0,
    needs: tuple[str, ...] = (),
    there: bool = True,
) -> Phase:
    """One that counts how often it has begun, yields ``values``, and does something at its end."""

    def work(run: Run) -> typing.Iterator[Values]:
        with (run.work / f"{name}.count").open("a") as file:
            file.write("x")
        yield from values
        if then:
            then(run)

    return Phase(name, work, least, needs, lambda _run: there)


def fail(reason: str) -> typing.Callable[[Run], object]:
    def work(_run: Run) -> object:
        raise FailedError(reason)

    return work


def hang(run: Run) -> None:
    """Start a process that stays, another that leaves its session, and wait for ever."""
    environment = {**os.environ}
    for number, extra in enumerate(({}, {INSTANCE_VARIABLE: f"{run.work}/etc/x"})):
        bare = {name: value for name, value in environment.items() if not (extra and name == MARK)}
        child = subprocess.Popen(
            [sys.executable, "-c", "import time; time.sleep(60)"], env={**bare, **extra}, start_new_session=True
        )
        (run.work / f"pid{number}").write_text(str(child.pid))
    time.sleep(60)


def started(run: Run) -> list[int]:
    """Return the pids that ``hang`` has started, once both are there."""
    for _turn in range(3000):
        files = [run.work / "pid0", run.work / "pid1"]
        if all(file.exists() and file.read_text() for file in files):
            return [int(file.read_text()) for file in files]
        time.sleep(0.01)
    pytest.fail("it never started them")


def test_each_result_is_written_and_a_second_call_repeats_nothing(run: Run) -> None:
    phases = [phase("one", {"a": 1}, {"b": 2}), phase("two", {"c": 3}, needs=("one",))]
    assert frame.go(phases, run) == {"one": "done", "two": "done"}
    notes = Journal(run.work)
    assert [(record["phase"], record.get("values"), record.get("outcome")) for record in notes.records()] == [
        ("one", {"a": 1}, None),
        ("one", {"b": 2}, None),
        ("one", None, "done"),
        ("two", {"c": 3}, None),
        ("two", None, "done"),
    ]
    assert frame.go(phases, run) == {"one": "done", "two": "done"}
    assert (counted("one", run), counted("two", run), len(notes.records())) == (1, 1, 5)


def test_none_waits_for_a_later_one_and_what_failed_is_tried_again(run: Run) -> None:
    phases = [phase("bad", {"a": 1}, then=fail("it is broken")), phase("needy", needs=("bad",)), phase("free")]
    assert frame.go(phases, run) == {"bad": "failed", "needy": "skipped", "free": "done"}
    outcomes = Journal(run.work).outcomes()
    assert (outcomes["bad"]["reason"], outcomes["needy"]["reason"]) == ("it is broken", "needs bad")
    assert frame.go([phase("bad"), *phases[1:]], run) == {"bad": "done", "needy": "done", "free": "done"}
    assert (counted("bad", run), counted("needy", run), counted("free", run)) == (2, 1, 1)
    assert Journal(run.work).values("bad") == [{"a": 1}], "what the first call has found is still told"


def test_what_is_not_here_is_no_failure_and_is_not_asked_again(run: Run) -> None:
    def work(_run: Run) -> object:
        raise NotHereError("there is no GPU")

    phases = [phase("gpu", then=work), phase("after", needs=("gpu",))]
    for _call in range(2):
        assert frame.go(phases, run) == {"gpu": "not here", "after": "skipped"}
    assert counted("gpu", run) == 1


def test_what_a_phase_has_made_may_be_gone(run: Run) -> None:
    for count in (1, 2):
        assert frame.go([phase("made", there=False)], run) == {"made": "done"}
        assert counted("made", run) == count


def test_a_bug_in_a_phase_stops_no_other(run: Run, capfd: pytest.CaptureFixture[str]) -> None:
    def work(_run: Run) -> object:
        raise KeyError("nonsense")

    assert frame.go([phase("bug", {"a": 1}, then=work), phase("free")], run) == {"bug": "failed", "free": "done"}
    assert Journal(run.work).outcomes()["bug"]["reason"] == "ended with 1; see what it said above"
    assert "KeyError: 'nonsense'" in capfd.readouterr().err


def test_what_does_not_fit_any_more_is_not_begun(run: Run) -> None:
    short = dataclasses.replace(run, deadline=time.monotonic() + 60)
    assert frame.go([phase("long", least=100), phase("small", least=1)], short) == {"long": "skipped", "small": "done"}
    assert Journal(run.work).outcomes()["long"]["reason"].startswith("needs 100 s, and ")
    assert frame.go([phase("long", least=100)], run) == {"long": "done"}


def test_the_budget_ends_a_long_phase_and_all_that_it_has_started(run: Run) -> None:
    short = dataclasses.replace(run, deadline=time.monotonic() + 3)
    assert frame.go([phase("long", {"half": True}, then=hang), phase("next", least=1)], short) == {
        "long": "ended",
        "next": "skipped",
    }
    assert Journal(run.work).values("long") == [{"half": True}]
    assert Journal(run.work).outcomes()["long"]["reason"] == "the budget's end"
    assert [processes.find(pid) for pid in started(run)] == [None, None]
    assert frame.go([phase("long"), phase("next")], dataclasses.replace(run, deadline=math.inf)) == {
        "long": "done",
        "next": "done",
    }


NAMES = ("one", "two", "three")


@pytest.mark.parametrize("name", NAMES)
def test_a_run_that_is_killed_in_a_phase_goes_on(run: Run, name: str) -> None:
    phases = [phase(each, {"found": each}, then=hang if each == name else None) for each in NAMES]
    pid = os.fork()
    if not pid:
        frame.go(phases, run)
        os._exit(0)
    left = started(run)
    os.kill(pid, signal.SIGKILL)
    assert os.waitpid(pid, 0)[1] == signal.SIGKILL
    notes = Journal(run.work)
    with notes.path.open("a") as file:
        file.write('{"phase": "cut o')  # as a kill in the middle of a line would leave it
    done = list(NAMES[: NAMES.index(name)])
    assert [record["phase"] for record in notes.records() if "outcome" in record] == done
    assert frame.go([phase(each, {"found": each}) for each in NAMES], run) == dict.fromkeys(NAMES, "done")
    assert [processes.find(pid) for pid in left] == [None, None], "the second call ends what the first has left"
    assert [counted(each, run) for each in NAMES] == [1 + (each == name) for each in NAMES]
    assert [value["found"] for each in NAMES for value in notes.values(each)] == sorted([*NAMES, name], key=NAMES.index)


def test_two_runs_do_not_work_in_one_folder(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame, "LOCK_TURNS", 2)
    with frame._alone(run), pytest.raises(FailedError, match="another run works in"):
        frame.go([phase("one")], run)
    assert counted("one", run) == 0


def test_journal_outcomes_are_those_of_the_last_call(run: Run) -> None:
    notes = Journal(run.work)
    notes.conclude("one", journal.FAILED, 1.26, "why")
    notes.conclude("one", journal.DONE, 2)
    assert notes.outcomes() == {"one": {"phase": "one", "outcome": "done", "reason": "", "seconds": 2}}
    assert notes.records()[0]["seconds"] == 1.3
