# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.transfer.demand import Demand


class Job:
    """A segment that is being fetched."""

    def __init__(self, at: float) -> None:
        self.at = at


@pytest.fixture
def demand() -> Demand:
    made = Demand()
    made.began(Job(10.0))
    return made


def test_one_connection_is_enough_while_bytes_come_faster_than_they_are_handled(demand: Demand) -> None:
    job = Job(0.0)
    assert not any(demand.received(job, 0.01, 0.02, float(now)) for now in range(50))
    assert (job.at, demand.active) == (49.0, 1)
    assert demand.enough_until(10.0) == pytest.approx(10.1)


def test_more_are_of_use_once_bytes_are_waited_for_and_that_is_said_once(demand: Demand) -> None:
    job = Job(0.0)
    told = [demand.received(job, 0.06, 0.0, float(now)) for now in range(9)]
    assert told == [False, True, *[False] * 7]
    assert demand.enough_until(5.0) == 5.0


def test_a_line_that_has_become_fast_needs_one_again(demand: Demand) -> None:
    job = Job(0.0)
    demand.received(job, 9.0, 0.0, 0.0)
    demand.received(job, 0.0, 0.15, 0.0)
    assert demand.enough_until(5.0) == 5.0, "it is not taken for fast by one block"
    demand.received(job, 0.0, 9.0, 0.0)
    assert demand.enough_until(5.0) == pytest.approx(10.1)


def test_a_connection_that_hangs_counts_for_none() -> None:
    demand = Demand()
    assert demand.enough_until(3.0) == 3.0
    job = Job(1.0)
    demand.began(job)
    assert demand.enough_until(3.0) == pytest.approx(1.1)
    demand.ended(job)
    assert demand.active == 0
