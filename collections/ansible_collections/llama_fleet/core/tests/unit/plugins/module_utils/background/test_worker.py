# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test what becomes of an instance while and after its native release is built beside it."""

from __future__ import annotations

import os
import pathlib
import time
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.release import background
from ansible_collections.llama_fleet.core.plugins.module_utils.server.contest import Contest
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.process import ProcessRuntime
from ansible_collections.llama_fleet.core.plugins.module_utils.server.state.store import Store
from ansible_collections.llama_fleet.core.tests.unit import waiting

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.planning import plan
    from ansible_collections.llama_fleet.core.tests.unit.plugins.module_utils.background.conftest import Site, Values


def test_a_faster_native_release_takes_over_once(site: Site) -> None:
    before = site.serves(api_key="", ctx_size=300)
    native = site.builds(speeds=[130.0])
    record = site.work()
    assert record.outcome == background.SWITCHED
    assert str(record) == "runs b1 native, which has 1.30 times as many tokens a second (1.30 to 1.30 in 11 turns)"
    assert (site.running(), site.trials()) == ("2 native", [])
    (pid,) = site.instance.servers()
    assert pid != before
    # The play that then wants the native release has nothing to do.
    after = site.instance.good(release=native)
    assert (after["changed"], after["pid"], after["generation"]) == (False, pid, 2)
    again = site.work()
    assert (again.outcome, site.instance.servers()) == (background.OVERTAKEN, [pid])
    assert str(again) == "the instance runs another release than the published b1"


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ({"speeds": [70.0]}, "has 0.70 times as many tokens a second (0.70 to 0.70 in 11 turns); the published"),
        ({"speeds": [100.0]}, "has 1.00 times as many tokens a second (1.00 to 1.00 in 11 turns); the published"),
        ({"speeds": [102.0]}, "has 1.02 times as many tokens a second (1.02 to 1.02 in 11 turns); the published"),
        ({"speeds": [200.0], "tokens": [1, 2, 3]}, "is not good: it generates ' six, seven, six, seven,"),
        ({"speeds": [200.0], "pieces": ["."]}, "is not good: it generates nothing but '................'"),
        ({"crash": "SIGILL"}, "is not good: llama-server was ended by SIGILL"),
        ({"refuses": "no such flag"}, "is not good: options that llama-server refuses: error: no such flag"),
    ],
)
def test_the_published_binaries_go_on_where_the_native_release_is_slower_or_wrong(
    site: Site, behaviour: Values, reason: str
) -> None:
    pid = site.serves()
    site.builds(**behaviour)
    record = site.work()
    assert record.outcome == background.KEPT
    assert f"b1 native {reason}" in str(record)
    assert not record.is_due(record.target)
    assert (site.running(), site.instance.servers(), site.trials()) == ("1 published", [pid], [])


@pytest.mark.parametrize(
    ("behaviour", "outcome", "running"),
    [
        ({"speeds": [120.0]}, background.SWITCHED, "2 native"),
        ({"speeds": [60.0]}, background.KEPT, "1 published"),
        ({"speeds": [120.0], "tokens": [1, 2, 3]}, background.KEPT, "1 published"),
    ],
)
def test_without_room_for_both_it_goes_back_where_the_native_release_is_slower_or_wrong(
    site: Site, behaviour: Values, outcome: str, running: str
) -> None:
    site.serves(memory_check=False)
    site.builds(model_mib=1 << 24, **behaviour)
    record = site.work()
    assert (record.outcome, site.running(), site.trials()) == (outcome, running, [])
    assert ("back in service" in str(record)) is (outcome == background.KEPT)


def test_a_build_that_fails_is_told_and_tried_again_after_a_day(site: Site) -> None:
    pid = site.serves()

    def fails(_caller: plan.Planned) -> Values:
        raise ProblemError(Problem("release", "no compiler", "one", "install it"))

    site.provides(fails)
    record = site.work()
    assert record.outcome == background.FAILED
    assert str(record).startswith("b1 native could not be built: release: expected one, found no compiler.")
    assert [record.is_due(record.target, time.time() + hours * 3600) for hours in (0, 23, 25)] == [False, False, True]
    assert site.instance.servers() == [pid]


def test_only_the_build_has_the_lowest_priority(site: Site) -> None:
    site.serves()
    native = site.builds(speeds=[130.0])
    told = site.instance.place / "priority"

    def build(caller: plan.Planned) -> Values:
        told.write_text(f"{os.nice(0)} {os.sched_getscheduler(0)} {caller.params['native']}", encoding="utf-8")
        return {"path": native}

    site.provides(build)
    assert site.work().outcome == background.SWITCHED
    assert told.read_text(encoding="utf-8") == f"19 {os.SCHED_IDLE} True"
    (pid,) = site.instance.servers()
    assert (os.getpriority(os.PRIO_PROCESS, pid), os.sched_getscheduler(pid)) == (os.nice(0), os.SCHED_OTHER)


def test_a_play_that_changes_the_release_meanwhile_has_the_last_word(site: Site) -> None:
    site.serves()
    site.builds(speeds=[130.0])
    newer = site.release("newer", "upstream", build="b2")
    site.play(release=newer)
    record = site.work()
    assert record.outcome == background.OVERTAKEN
    assert record.is_due(record.target)
    assert site.running() == "2 newer"


def test_options_that_a_play_changes_meanwhile_stay(site: Site) -> None:
    site.serves()
    native = site.builds(speeds=[130.0])
    site.play(ctx_size=300, api_key="one-key", api_keys=["other-key"])
    # The job has the options of before.
    site.instance.arguments["ctx_size"] = 256
    assert site.work().outcome == background.SWITCHED
    assert [site.instance.answers(key) for key in ("one-key", "other-key", "")] == [200, 200, 401]
    after = site.instance.good(ctx_size=300, release=native, api_key="one-key", api_keys=["other-key"])
    assert (after["changed"], after["generation"], after["context"]) == (False, 3, 300)


def held(path: pathlib.Path, native: str) -> typing.Callable[[plan.Planned], Values]:
    """Return a build that does not end before ``path`` is there."""

    def build(_caller: plan.Planned) -> Values:
        waiting.until(path.exists)
        return {"path": native}

    return build


def test_a_play_during_the_build_neither_waits_nor_begins_another(site: Site) -> None:
    pid = site.serves()
    go = site.instance.place / "go"
    site.provides(held(go, site.builds(speeds=[130.0])))
    child = site.begin()
    waiting.until(lambda: site.record.is_running)
    assert str(site.record) == "building b1 native beside it"
    assert not site.record.is_due(site.record.target)
    assert site.record.is_due("another target")
    after = site.instance.good()
    assert (after["changed"], after["pid"]) == (False, pid)
    go.touch()
    site.end(child)
    assert (site.record.outcome, site.running()) == (background.SWITCHED, "2 native")


def test_killed_while_it_builds(site: Site) -> None:
    pid = site.serves()
    native = site.builds(speeds=[130.0])
    go = site.instance.place / "go"
    site.provides(held(go, native))
    child = site.begin()
    waiting.until(lambda: site.record.is_running)
    site.kill(child)
    assert "was killed; the next run starts it again" in str(site.record)
    assert site.record.is_due(site.record.target)
    assert (site.instance.servers(), site.running()) == ([pid], "1 published")
    go.touch()
    assert (site.work().outcome, site.running()) == (background.SWITCHED, "2 native")


def test_killed_while_it_compares(site: Site) -> None:
    pid = site.serves()
    site.builds(speeds=[130.0], loads_forever=True)
    child = site.begin()
    waiting.until(site.trials)
    assert str(site.record) == "comparing b1 native with it"
    site.kill(child)
    assert (site.instance.servers(), site.running()) == ([pid], "1 published")
    assert site.record.is_due(site.record.target)
    # A play changes nothing, and stops what was left of the trial.
    assert site.instance.good()["pid"] == pid
    assert site.trials() == []
    native = pathlib.Path(site.release("sound", "built", speeds=[130.0]))
    site.provides(lambda _caller: {"path": str(native)})
    assert (site.work().outcome, site.running()) == (background.SWITCHED, "3 sound")


@pytest.mark.parametrize(
    ("place", "name", "serves"),
    [
        (Store, "switch", "1 published"),
        (ProcessRuntime, "start", "1 published"),
        (Contest, "judge", "2 native"),
        (Store, "mark_good", "2 native"),
        (Store, "prune", "2 native"),
    ],
)
def test_killed_while_it_switches(site: Site, place: type, name: str, serves: str) -> None:
    """The method ``name`` of ``place`` is the step of the switch before which the job is killed."""
    site.serves()
    native = site.builds(speeds=[130.0])
    reached = site.instance.place / "reached"
    whole = getattr(place, name)

    def step(*arguments: typing.Any, **options: typing.Any) -> typing.Any:
        if site.record.phase != background.SWITCHING:
            return whole(*arguments, **options)
        reached.touch()
        time.sleep(600)
        raise AssertionError("it was not killed")

    with site.monkeypatch.context() as patch:
        patch.setattr(place, name, step)
        child = site.begin()
        waiting.until(reached.exists)
        site.kill(child)
    assert site.running() == serves
    # The next play wants the release that is current, and has the build started again if that is the published one.
    site.play(release=str(site.instance.manifest(int(site.instance.current()))["release"]))
    assert site.record.is_due(site.record.target)
    if site.running().endswith("published"):
        assert site.work().outcome == background.SWITCHED
    assert site.running().endswith("native")
    assert site.instance.good(release=native)["changed"] is False
