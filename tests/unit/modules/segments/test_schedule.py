# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The order of requests, the number of connections, and the thread that hashes."""

from __future__ import annotations

import dataclasses
import os
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.clock import Limits
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.pool import Pool
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.rules import BrokenError
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.status import BusyError
from ansible_collections.llama_fleet.core.plugins.module_utils.transfer.file import Pace, SegmentedFile
from ansible_collections.llama_fleet.core.plugins.module_utils.transfer.request import Origin, Wanted
from ansible_collections.llama_fleet.core.plugins.module_utils.transfer.schedule import Job, Schedule
from ansible_collections.llama_fleet.core.plugins.module_utils.transfer.segments import Received
from tests.hub import Fault, Hub
from tests.unit.modules.segments.case import NAME, QUICK, SIZE, assert_right, fetch

if typing.TYPE_CHECKING:
    import pathlib

MOST = 4
Make = typing.Callable[..., "Plan"]


class Plan:
    """The schedule of some files at one server, or each at its own, all of them proven; its clock is what the test
    says.
    """

    def __init__(self, folder: pathlib.Path, files: int, url: str = "http://host/x") -> None:
        paces: dict[tuple[str, str], Pace] = {}
        wanted = [
            Wanted(f"{number}", "0" * 64, SIZE, folder / f"{number}", (Origin(url.format(number)),))
            for number in range(files)
        ]
        self.files = [SegmentedFile(each, Pool(Limits(5)), paces, QUICK, MOST) for each in wanted]
        for file in self.files:
            file.open()
            file.sources[0].proven = True
        self.schedule = Schedule(self.files, QUICK)

    def begin(self, now: float) -> Job:
        job, _soonest = self.schedule.next(now)
        assert job is not None
        return job

    def look_again(self, now: float) -> float:
        job, soonest = self.schedule.next(now)
        assert job is None
        return soonest

    def begin_all(self, now: float) -> list[Job]:
        jobs: list[Job] = []
        for _ in range(1000):
            job, _soonest = self.schedule.next(now)
            if job is None:
                return jobs
            jobs.append(job)
        raise AssertionError("the schedule hands out jobs without an end")


@pytest.fixture
def plan(tmp_path: pathlib.Path) -> typing.Iterator[Make]:
    made: list[Plan] = []

    def make(files: int, *url: str) -> Plan:
        made.append(Plan(tmp_path, files, *url))
        return made[-1]

    yield make
    for each in made:
        for file in each.files:
            file.disk.close()


class TestConnections:
    def test_one_is_enough_while_bytes_come_faster_than_they_are_handled(self, plan: Make) -> None:
        one = plan(1)
        job = one.begin(10)
        for number in range(1, 101):
            now = 10 + number / 50
            assert not job.file.demand.received(job, 0.009, 0.011, now)
            assert one.look_again(now) == pytest.approx(now + 0.1)

    def test_all_are_used_where_bytes_are_waited_for(self, plan: Make) -> None:
        one = plan(1)
        job = one.begin(10)
        assert [job.file.demand.received(job, 0.04, 0.01, 10.05 * number) for number in range(1, 7)] == [False] * 3 + [
            True
        ] + [False] * 2
        assert len(one.begin_all(10.06)) == MOST - 1

    def test_a_slow_line_is_known_by_its_first_block(self, plan: Make) -> None:
        one = plan(1)
        job = one.begin(10)
        assert job.file.demand.received(job, 1, 0.002, 11)
        assert len(one.begin_all(11)) == MOST - 1

    def test_fewer_again_where_the_line_has_become_fast(self, plan: Make) -> None:
        one = plan(1)
        job = one.begin(10)
        job.file.demand.received(job, 1, 0, 11)
        for number in range(1, 11):
            job.file.demand.received(job, 0, 0.019, 11)
            assert job.file.demand.enough_until(11) == 11, number
        job.file.demand.received(job, 0, 0.011, 11)
        assert one.look_again(11) > 11

    def test_one_that_hangs_holds_up_nothing(self, plan: Make) -> None:
        one = plan(1)
        one.begin(10)
        assert one.look_again(10.05) == pytest.approx(10.1)
        other = one.begin(10.2)
        assert other.segment.index == 1
        other.file.demand.received(other, 0.001, 0.002, 10.3)
        assert one.look_again(10.3) == pytest.approx(10.4)
        one.schedule.over(other, None, 10.31)
        other.file.segments[1].done = True
        assert one.begin(10.31).segment.index in (1, 2)

    def test_shards_have_one_each(self, plan: Make) -> None:
        split = plan(3)
        jobs = split.begin_all(10)
        assert [job.file for job in jobs] == split.files
        split.schedule.over(jobs[1], BrokenError("x"), 10)
        split.files[1].sources[0].not_before = 0
        assert split.begin(10).file is split.files[1]

    def test_the_shards_with_fewest_go_first(self, plan: Make) -> None:
        split = plan(3)
        first = split.begin(10)
        first.file.demand.received(first, 1, 0, 11)
        assert [job.file for job in split.begin_all(11)] == [*split.files[1:], split.files[0]], (
            "four in all, as the server is asked no more at once"
        )


class TestPauses:
    def test_what_a_server_asks_for_is_told(self, plan: Make) -> None:
        split = plan(2)
        jobs = split.begin_all(10)
        split.schedule.over(jobs[0], BusyError("x", 0.2), 10)
        assert split.schedule.pause(10) == (0, ""), "as another file is under way"
        split.schedule.over(jobs[1], None, 10)
        assert split.schedule.pause(10) == (10.2, "host")
        assert split.schedule.pause(10.2) == (0, "")

    def test_a_file_that_has_all_its_bytes_waits_for_nobody(self, plan: Make) -> None:
        split = plan(2, "http://host{0}/x")
        split.files[1].todo.clear()
        split.files[0].sources[0].pace.not_before = 15
        assert split.schedule.pause(10) == (15, "host0")
        split.files[0].finished = True
        assert split.schedule.pause(10) == (0, "")

    def test_not_what_is_waited_for_by_itself(self, plan: Make) -> None:
        one = plan(1)
        one.schedule.over(one.begin(10), BrokenError("x"), 10)
        assert one.schedule.pause(10) == (0, "")
        for file in one.files:
            file.finished = True
        assert one.schedule.pause(10) == (0, "")

    def test_the_caller_is_told(self, hub: Hub, wanted: Wanted) -> None:
        hub.faults[NAME] = Fault(status=429, retry_after="100")
        told: list[tuple[object, ...]] = []
        manner = dataclasses.replace(QUICK, longest_wait=1.0)
        fetch(wanted, manner=manner, seen=lambda count: told.append((count,)), waits=lambda *given: told.append(given))
        assert told[:3] == [(0,), (1, "127.0.0.1"), (0, "")]
        assert told[-1] == (SIZE,)
        assert_right(wanted)


class TestHash:
    def test_what_is_next_is_hashed_by_who_has_fetched_it(
        self, wanted: Wanted, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Nothing is read back."""

        def unwanted(*_arguments: object) -> int:
            raise AssertionError

        monkeypatch.setattr(os, "preadv", unwanted)
        assert fetch(wanted, connections=1) == Received(SIZE, 0)
        assert_right(wanted)
