# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Each byte comes once, whatever breaks off: by counts of requests and bytes at the test hub."""

from __future__ import annotations

import dataclasses
import hashlib
import random
import threading
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.transfer.request import Origin, Wanted
from ansible_collections.llama_fleet.core.plugins.module_utils.transfer.segments import Received, waiting_bytes
from tests.hub import Fault, Hub
from tests.unit.modules.segments.case import (
    COUNT,
    DATA,
    IMPATIENT,
    NAME,
    QUICK,
    SEGMENT,
    SIZE,
    VARIABLE,
    assert_nothing_left,
    assert_right,
    fetch,
    plain,
    problem_of,
    requests,
)

if typing.TYPE_CHECKING:
    import pathlib


class TestWithoutFaults:
    def test_each_byte_comes_once_over_few_connections_and_one_redirect(self, hub: Hub, wanted: Wanted) -> None:
        hub.faults[NAME] = Fault(rate=4 << 20)
        assert fetch(wanted) == Received(SIZE, 0)
        assert_right(wanted)
        assert hub.sent == SIZE
        assert len(requests(hub, "front")) == 1
        assert sorted(entry.first for entry in requests(hub, "storage")) == list(range(0, SIZE, SEGMENT))
        assert hub.connections <= 1 + 4
        assert 1 < hub.busiest[NAME] <= 4

    def test_the_token_goes_to_its_own_origin_alone(self, hub: Hub, wanted: Wanted) -> None:
        fetch(wanted)
        assert {(entry.origin, entry.authorized) for entry in hub.settle()} == {("front", True), ("storage", False)}

    @pytest.mark.parametrize("size", [1, 4096, SEGMENT - 1, SEGMENT, SEGMENT + 1])
    def test_every_size(self, hub: Hub, wanted: Wanted, size: int) -> None:
        data = DATA[:size]
        (hub.root / "files" / NAME).write_bytes(data)
        small = dataclasses.replace(wanted, size=size, sha256=hashlib.sha256(data).hexdigest(), origins=(plain(hub),))
        assert fetch(small) == Received(size, 0)
        assert_right(small, data)

    def test_shards_share_the_connections(self, hub: Hub, tmp_path: pathlib.Path) -> None:
        shards = []
        for number in range(5):
            data = b"GGUF" + random.Random(number).randbytes(SEGMENT)
            (hub.root / "files" / f"{number}.gguf").write_bytes(data)
            part = tmp_path / str(number) / "x"
            shards.append(
                Wanted(
                    str(number),
                    hashlib.sha256(data).hexdigest(),
                    len(data),
                    part,
                    (Origin(f"{hub.url}/files/{number}.gguf"),),
                )
            )
        assert fetch(*shards) == Received(5 * (SEGMENT + 4), 0)
        assert [hashlib.sha256(shard.part.read_bytes()).hexdigest() for shard in shards] == [
            shard.sha256 for shard in shards
        ]
        assert hub.connections <= 4
        assert len(hub.settle()) == 10

    def test_a_server_that_sends_less_at_a_time(self, hub: Hub, wanted: Wanted) -> None:
        hub.faults[NAME] = Fault(most=SEGMENT // 2 + 1)
        assert fetch(wanted, manner=dataclasses.replace(QUICK, tries=1)) == Received(SIZE, 0)
        assert_right(wanted)
        assert len(requests(hub, "storage")) == 2 * COUNT - 1

    def test_progress_only_grows_and_comes_from_the_caller(self, hub: Hub, wanted: Wanted) -> None:
        hub.faults[NAME] = Fault(rate=1 << 20)
        told: list[tuple[int, int]] = []
        fetch(wanted, seen=lambda count: told.append((count, threading.get_ident())))
        counts = [count for count, _thread in told]
        assert counts == sorted(set(counts))
        assert (counts[0], counts[-1]) == (0, SIZE)
        assert len(counts) > 3
        assert {thread for _count, thread in told} == {threading.get_ident()}

    def test_nothing_to_do(self) -> None:
        assert fetch() == Received(0, 0)

    def test_a_login_in_the_address_goes_into_a_header(self, hub: Hub, wanted: Wanted) -> None:
        origin = Origin(f"http://me:s3cret@{hub.host}:{hub.port}/files/{NAME}")
        fetch(dataclasses.replace(wanted, origins=(origin,)))
        assert {entry.authorized for entry in hub.settle()} == {True}

    def test_the_proxy_of_the_host_is_used(self, hub: Hub, wanted: Wanted, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("http_proxy", hub.url)
        monkeypatch.setenv("no_proxy", "")
        fetch(dataclasses.replace(wanted, origins=(Origin(f"http://models.invalid/files/{NAME}"),)))
        assert_right(wanted)
        assert {entry.path for entry in hub.settle()} == {f"http://models.invalid:80/files/{NAME}"}


class TestBrokenOff:
    """Bytes that arrived are not requested again."""

    def test_a_truncated_answer(self, hub: Hub, wanted: Wanted) -> None:
        hub.faults[NAME] = Fault(cut_at=5 * SEGMENT + SEGMENT // 2, cuts=3)
        assert fetch(wanted) == Received(SIZE, 0)
        assert_right(wanted)
        assert hub.sent == SIZE
        assert len(requests(hub, "storage")) == COUNT + 3

    def test_a_reset(self, hub: Hub, wanted: Wanted) -> None:
        hub.faults[NAME] = Fault(reset_at=5 * SEGMENT + SEGMENT // 2, resets=2)
        assert fetch(wanted).network_bytes == SIZE
        assert_right(wanted)
        assert len(requests(hub, "storage")) == COUNT + 2
        assert hub.sent < SIZE + SEGMENT  # a reset destroys what lies unread

    def test_a_stall(self, hub: Hub, wanted: Wanted) -> None:
        hub.faults[NAME] = Fault(stall_at=5 * SEGMENT + SEGMENT // 2)
        assert fetch(wanted, manner=dataclasses.replace(IMPATIENT, tries=2)).network_bytes == SIZE
        assert_right(wanted)
        assert hub.sent == SIZE

    def test_a_slow_line_is_no_stall(self, hub: Hub, wanted: Wanted) -> None:
        data = DATA[: SEGMENT * 5 // 4]
        (hub.root / "files" / NAME).write_bytes(data)
        hub.faults[NAME] = Fault(rate=120_000)  # a segment takes longer than a stall, each of its four pieces does not
        slow = dataclasses.replace(
            wanted, size=len(data), sha256=hashlib.sha256(data).hexdigest(), origins=(plain(hub),)
        )
        fetch(slow, manner=IMPATIENT)
        assert_right(slow, data)
        assert len(hub.settle()) == 2

    @pytest.mark.parametrize("status", [500, 502, 408])
    def test_a_server_that_is_ill_for_a_while(self, hub: Hub, wanted: Wanted, status: int) -> None:
        hub.faults[NAME] = Fault(status=status, times=3)
        assert fetch(wanted, connections=1) == Received(SIZE, 0)
        assert_right(wanted)

    def test_a_server_that_stays_ill_is_given_up(self, hub: Hub, wanted: Wanted) -> None:
        hub.faults[NAME] = Fault(status=502, times=1000)
        assert problem_of(wanted).startswith(
            f"{VARIABLE}: expected the {SIZE} bytes of {NAME} with sha256 {wanted.sha256}, found HTTP status 502 from "
            f"{hub.url}/owner/model/resolve/main/{NAME} (4 times in a row)."
        )
        assert len(hub.settle()) == QUICK.tries
        assert_nothing_left(wanted)

    def test_nobody_answers(self, wanted: Wanted) -> None:
        wanted = dataclasses.replace(wanted, origins=(Origin("http://127.0.0.1:9/x"),))
        assert ", found no answer (" in problem_of(wanted)
        assert "refused" in problem_of(wanted)


class TestWithoutRanges:
    def test_one_stream(self, hub: Hub, wanted: Wanted) -> None:
        hub.faults[NAME] = Fault(ranges=False)
        assert fetch(wanted) == Received(SIZE, 0)
        assert_right(wanted)
        assert len(requests(hub, "storage")) == 1

    def test_what_is_there_stays(self, hub: Hub, wanted: Wanted) -> None:
        hub.faults[NAME] = Fault(ranges=False, cut_at=5 * SEGMENT + 5000, cuts=2)
        assert fetch(wanted).network_bytes == hub.sent
        assert_right(wanted)
        assert len(requests(hub, "storage")) == 3

    def test_always_broken_off_at_the_same_byte(self, hub: Hub, wanted: Wanted) -> None:
        hub.faults[NAME] = Fault(ranges=False, cut_at=5 * SEGMENT + 5000, cuts=1000)
        assert f"truncated at byte {5 * SEGMENT} of {SIZE}" in problem_of(wanted)
        assert len(requests(hub, "storage")) <= 1 + QUICK.tries
        assert waiting_bytes(wanted.part) == 5 * SEGMENT
