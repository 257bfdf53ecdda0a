# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""A run resumes the download of an earlier one, and trusts only the bytes that a sha256 covers."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.transfer.segments import Received, waiting_bytes
from tests.hub import Fault, Hub
from tests.unit.modules.segments.case import (
    COUNT,
    DATA,
    NAME,
    QUICK,
    SEGMENT,
    SIZE,
    assert_right,
    fetch,
    plain,
    problem_of,
)

if typing.TYPE_CHECKING:
    import pathlib

    from ansible_collections.llama_fleet.core.plugins.module_utils.transfer.request import Wanted

KEPT = 5 * SEGMENT
HOLDER = """
import pathlib, sys
from ansible_collections.llama_fleet.core.plugins.module_utils.transfer.journal import PartFile
disk = PartFile(pathlib.Path(sys.argv[1]), 8, 4, "0" * 64, [])
disk.open()
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def left(hub: Hub, wanted: Wanted) -> Wanted:
    """Return the request of a download that ended after five segments."""
    hub.faults[NAME] = Fault(cut_at=KEPT, cuts=1000)
    problem_of(wanted, connections=1)
    hub.faults.clear()
    hub.settle()
    hub.sent = 0
    assert waiting_bytes(wanted.part) == KEPT
    return wanted


def _places(wanted: Wanted) -> tuple[pathlib.Path, pathlib.Path]:
    return wanted.part.with_name("x.part"), wanted.part.with_name("x.journal")


def test_only_what_is_missing_is_fetched(hub: Hub, left: Wanted) -> None:
    told: list[int] = []
    assert fetch(left, seen=told.append) == Received(SIZE - KEPT, KEPT)
    assert_right(left)
    assert hub.sent == SIZE - KEPT
    assert (told[0], told[-1]) == (KEPT, SIZE)
    assert waiting_bytes(left.part) == SIZE


def test_the_space_is_taken_from_the_beginning(left: Wanted) -> None:
    place, _journal = _places(left)
    assert (place.stat().st_size, place.stat().st_blocks * 512 >= SIZE) == (SIZE, True)


@pytest.mark.parametrize(
    "change",
    [
        {"size": SIZE + 1},
        {"segment": SEGMENT * 2},
        {"sha256": "0" * 64},
        {"done": "0" * (COUNT + 1)},
        {"done": 7},
        {"size": None},
    ],
    ids="-".join,
)
def test_a_journal_of_something_else_is_ignored(left: Wanted, change: dict[str, object]) -> None:
    _place, journal = _places(left)
    journal.write_text(json.dumps({**json.loads(journal.read_text(encoding="utf-8")), **change}), encoding="utf-8")
    assert fetch(left) == Received(SIZE, 0)
    assert_right(left)


@pytest.mark.parametrize("text", ["", "[]", '{"size"', "\0" * 100], ids=["empty", "list", "cut", "zeros"])
def test_a_journal_that_is_none_is_ignored(left: Wanted, text: str) -> None:
    _places(left)[1].write_text(text, encoding="utf-8")
    assert waiting_bytes(left.part) == 0
    assert fetch(left) == Received(SIZE, 0)
    assert_right(left)


def test_another_segment_size_begins_again(left: Wanted) -> None:
    assert fetch(left, manner=dataclasses.replace(QUICK, segment=SEGMENT // 2)) == Received(SIZE, 0)
    assert_right(left)


def test_without_its_bytes_the_journal_is_ignored(left: Wanted) -> None:
    os.truncate(_places(left)[0], KEPT)
    assert waiting_bytes(left.part) == 0
    assert fetch(left) == Received(SIZE, 0)
    assert_right(left)


def test_bytes_that_the_disk_has_spoilt_are_found(left: Wanted) -> None:
    place, _journal = _places(left)
    with place.open("r+b") as file:
        file.seek(KEPT - 1)
        file.write(bytes([DATA[KEPT - 1] ^ 1]))
    assert fetch(left) == Received(2 * SIZE - KEPT, KEPT)
    assert_right(left)


def test_bytes_of_an_origin_that_is_gone_are_discarded_alone(hub: Hub, left: Wanted) -> None:
    """They were wrong, and nobody answers for them any more; what came since is kept."""
    place, _journal = _places(left)
    with place.open("r+b") as file:
        file.write(b"x")
    assert fetch(dataclasses.replace(left, origins=(plain(hub),))) == Received(SIZE, KEPT)
    assert_right(left)
    assert hub.sent == SIZE


def test_a_whole_file_that_was_not_handed_on(hub: Hub, left: Wanted) -> None:
    fetch(left)
    assert fetch(left) == Received(0, SIZE)
    assert_right(left)
    assert hub.sent == SIZE - KEPT


def test_what_is_there_needs_no_origin(left: Wanted) -> None:
    fetch(left)
    alone = dataclasses.replace(left, origins=())
    assert fetch(alone) == Received(0, SIZE)
    left.part.write_bytes(b"x" * SIZE)
    sentence = (
        f"gguf_model_source: expected the {SIZE} bytes of {NAME} with sha256 {left.sha256}, found "
        f"no origin to fetch {NAME} from."
    )
    assert problem_of(alone) == sentence
    assert problem_of(alone) == sentence
    assert list(left.part.parent.iterdir()) == []


@pytest.mark.parametrize("content", [b"x", b"x" * SIZE])
def test_something_else_in_its_place(wanted: Wanted, content: bytes) -> None:
    wanted.part.parent.mkdir()
    wanted.part.write_bytes(content)
    assert fetch(wanted) == Received(SIZE, len(content) if len(content) == SIZE else 0)
    assert_right(wanted)


def test_a_second_run_at_once_is_refused_and_spoils_nothing(hub: Hub, left: Wanted) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", HOLDER, str(left.part)]
    before = [path.read_bytes() for path in _places(left)]
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        journal = before[1]  # the other, which wants another file, has thrown it away
        _places(left)[1].write_bytes(journal)
        assert (
            problem_of(left)
            == f"{left.part}: expected one run at a time, found another run that fetches it. Fix: Wait for the other."
        )
        assert hub.sent == 0
        assert [path.read_bytes() for path in _places(left)] == before
        other.kill()
    assert fetch(left) == Received(SIZE - KEPT, KEPT)
    assert_right(left)
