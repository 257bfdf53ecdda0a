# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import errno
import json
import pathlib
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.server import room


class Found:
    """A generation in ``folder``."""

    def __init__(self, folder: pathlib.Path, number: int, good: bool) -> None:
        self.path, self.number, self.good = folder / "generations" / str(number), number, good
        self.manifest = {"good": good}


class Runtime:
    """A runtime that writes one file of ten bytes."""

    def writes(self, found: Found) -> list[tuple[pathlib.Path, int]]:
        return [(pathlib.Path(f"/etc/{found.number}"), 10)]


def test_room_is_wanted_for_both_ways_and_for_the_note_that_a_generation_is_good(tmp_path: pathlib.Path) -> None:
    ways: typing.Any = [(Found(tmp_path, 2, False), Runtime()), (Found(tmp_path, 1, True), Runtime())]
    contents, links = room.wanted(tmp_path, ways)
    (note, size), *outside = contents
    assert note == tmp_path / "generations/2/manifest.json"
    assert size > len(json.dumps({"good": False}, indent=2))
    assert outside == [(pathlib.Path("/etc/2"), 10), (pathlib.Path("/etc/1"), 10)]
    assert [link for link, _target in links] == [tmp_path / "current"] * 2
    assert ["2" in target for _link, target in links] == [True, False]


def test_only_a_link_or_nothing_may_be_in_the_place_of_the_current_generation(tmp_path: pathlib.Path) -> None:
    current = tmp_path / "current"
    assert room.obstacles(tmp_path) == []
    (tmp_path / "generations/1").mkdir(parents=True)
    current.symlink_to("generations/1")
    assert room.obstacles(tmp_path) == []
    current.unlink()
    current.write_text("", encoding="utf-8")
    assert ["a file in the place" in str(problem) for problem in room.obstacles(tmp_path)] == [True]
    current.unlink()
    current.mkdir()
    assert ["a folder in the place" in str(problem) for problem in room.obstacles(tmp_path)] == [True]


@pytest.mark.parametrize(
    ("error", "place", "fix"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/a"), "/a", "make room there"),
        (OSError(errno.EROFS, "Read-only file system"), "/folder", "mount it for writing"),
        (OSError(errno.EEXIST, "File exists", "/a", None, "/b"), "/b", "see what is in its place"),
    ],
)
def test_a_place_that_takes_nothing_is_named_with_its_cure(error: OSError, place: str, fix: str) -> None:
    problem = room.unwritten(error, pathlib.Path("/folder"))
    assert (problem.subject, problem.found) == (place, error.strerror)
    assert problem.fix.startswith(f"{fix}, and run it again")
