# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import os
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.progress import (
    BYTES,
    Progress,
    Snapshot,
    duration,
    parse,
)

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
        (
            Snapshot("fetching", 25_000_000, 100_000_000, BYTES, 2.5),
            "fetching: 25 %, 25 of 100 MB, 10.0 MB/s, 7 s left",
        ),
        (
            Snapshot("fetching", 75_000_000, 100_000_000, BYTES, 2.5, before=50_000_000),
            "fetching: 75 %, 75 of 100 MB, 10.0 MB/s, 2 s left",
        ),
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
    progress.update(0, 8)
    clock.now += 4
    progress.update(1, 8)
    snapshot = parse((tmp_path / "progress").read_text())
    assert snapshot is not None
    assert (snapshot.stage, snapshot.done, snapshot.total, snapshot.elapsed, snapshot.seconds_left) == (
        "building",
        1,
        8,
        4.0,
        28,
    )


def test_the_rate_counts_only_what_comes_after_a_stages_first_update(tmp_path: pathlib.Path) -> None:
    clock = Clock()
    progress = Progress(str(tmp_path / "progress"), clock)

    def rate(seconds: float, done: int) -> float:
        clock.now += seconds
        progress.update(done, 1000, BYTES)
        snapshot = parse((tmp_path / "progress").read_text())
        assert snapshot is not None
        return snapshot.rate

    progress.stage("fetching the first")
    assert [rate(60, 900), rate(1, 910), rate(1, 920)] == [0.0, 10.0, 10.0]
    progress.stage("fetching the second")
    assert [rate(60, 950), rate(2, 990)] == [0.0, 20.0]
    # The bytes that were there have turned out wrong.
    assert [rate(1, 0), rate(1, 20)] == [0.0, 20.0]


def test_frequent_updates_are_written_ten_times_a_second_at_most(tmp_path: pathlib.Path) -> None:
    clock = Clock()
    progress = Progress(str(tmp_path / "progress"), clock)
    progress.stage("building")
    progress.update(1, 8)
    assert 'done": 0' in (tmp_path / "progress").read_text()
    progress.update(8, 8)  # the final state is always written
    assert 'done": 8' in (tmp_path / "progress").read_text()


def test_no_file_no_writing() -> None:
    Progress("").update(1, 2)


def _tell(path: pathlib.Path) -> None:
    progress = Progress(str(path))
    progress.stage("building")
    progress.update(8, 8)


def test_the_folder_is_made_for_this_user_alone(tmp_path: pathlib.Path) -> None:
    _tell(tmp_path / "run" / "progress")
    assert (tmp_path / "run").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "run" / "progress").stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path / "run") == ["progress"]


@pytest.mark.parametrize("kind", ["folder", "link", "fifo", "file"])
def test_what_is_in_the_way_neither_ends_a_stage_nor_is_followed(tmp_path: pathlib.Path, kind: str) -> None:
    victim, way = tmp_path / "victim", tmp_path / "progress.new"
    victim.write_text("precious")
    make: dict[str, typing.Callable[[], object]] = {
        "folder": way.mkdir,
        "link": lambda: way.symlink_to(victim),
        "fifo": lambda: os.mkfifo(way),
        "file": lambda: way.write_text("old"),
    }
    make[kind]()
    _tell(tmp_path / "progress")
    assert victim.read_text() == "precious"
    assert (tmp_path / "progress").exists() == (kind != "folder")


def test_nothing_is_written_where_others_could_replace_it(tmp_path: pathlib.Path) -> None:
    shared, link, file = tmp_path / "shared", tmp_path / "link", tmp_path / "file"
    shared.mkdir()
    shared.chmod(0o1777)
    link.symlink_to(tmp_path)
    file.write_text("")
    for folder in (shared, link, file, tmp_path / "no" / "such"):
        _tell(folder / "progress")
    assert os.listdir(shared) == []
    assert sorted(os.listdir(tmp_path)) == ["file", "link", "shared"]
