# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.progress import BYTES, Progress, Snapshot, duration, parse

if typing.TYPE_CHECKING:
    import pathlib


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("snapshot", "text"),
    [
        (Snapshot("planning"), "planning"),
        (Snapshot("building", 50, 200, elapsed=10), "building: 25 %, [50/200], 30 s left"),
        (Snapshot("building", 200, 200, elapsed=10), "building: 100 %, [200/200]"),
        (Snapshot("fetching", 25_000_000, 100_000_000, BYTES, 2.5), "fetching: 25 %, 25 of 100 MB, 10.0 MB/s, 7 s left"),
        (Snapshot("fetching", 0, 100_000_000, BYTES, 0.0), "fetching: 0 %, 0 of 100 MB, 0.0 MB/s"),
    ],
)
def test_a_line_tells_what_is_known(snapshot: Snapshot, text: str) -> None:
    assert snapshot.text() == text


def test_minutes_are_written_out() -> None:
    assert duration(75) == "1 min 15 s"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"unknown": 1}', '"text"'])
def test_what_is_no_snapshot_is_none(text: str) -> None:
    assert parse(text) is None


def test_what_is_written_can_be_read(tmp_path: pathlib.Path) -> None:
    clock = Clock()
    progress = Progress(str(tmp_path / "progress"), clock)
    progress.stage("building")
    clock.now += 4
    progress.update(1, 8)
    snapshot = parse((tmp_path / "progress").read_text())
    assert snapshot is not None
    assert (snapshot.stage, snapshot.done, snapshot.total, snapshot.elapsed, snapshot.seconds_left) == ("building", 1, 8, 4.0, 28)


def test_frequent_updates_are_written_ten_times_a_second_at_most(tmp_path: pathlib.Path) -> None:
    clock = Clock()
    progress = Progress(str(tmp_path / "progress"), clock)
    progress.stage("building")
    progress.update(1, 8)
    assert 'done": 0' in (tmp_path / "progress").read_text()
    progress.update(8, 8)  # the end is always written
    assert 'done": 8' in (tmp_path / "progress").read_text()


def test_no_file_no_writing() -> None:
    Progress("").update(1, 2)
