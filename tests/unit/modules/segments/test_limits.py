# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Origins that ask for less, and locations that live for a while."""

from __future__ import annotations

import dataclasses
import email.utils
import threading
import time
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.clock import Limits
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.pool import Pool
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.rules import BrokenError, OriginError
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.status import BusyError
from ansible_collections.llama_fleet.core.plugins.module_utils.transfer import origin as http_origin
from ansible_collections.llama_fleet.core.plugins.module_utils.transfer.file import Pace, Source
from ansible_collections.llama_fleet.core.plugins.module_utils.transfer.request import Manner, Origin, Wanted
from ansible_collections.llama_fleet.core.plugins.module_utils.transfer.segments import Received
from ansible_collections.llama_fleet.core.tests.unit.raw_server import Asked, Peer, RawServer
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
    repo,
    requests,
)


class TestAskedTooMuch:
    def test_refusals_are_waited_for(self, hub: Hub, wanted: Wanted) -> None:
        hub.faults[NAME] = Fault(status=429, times=3, retry_after="0")
        assert fetch(wanted) == Received(SIZE, 0)
        assert_right(wanted)

    @pytest.mark.parametrize("status", [429, 503])
    def test_too_many_at_once(self, hub: Hub, wanted: Wanted, status: int) -> None:
        """Down to one connection at once, and slowly up again: few requests are in vain."""
        hub.faults[NAME] = Fault(together=1, retry_after="0", together_status=status, rate=8 << 20)
        assert fetch(wanted) == Received(SIZE, 0)
        assert_right(wanted)
        assert 1 <= len(requests(hub, "storage", status)) <= 3 + COUNT // 4

    def test_idle_connections_are_closed(self, hub: Hub, wanted: Wanted) -> None:
        """Some servers count them."""
        hub.faults[NAME] = Fault(status=429, retry_after="0")
        fetch(dataclasses.replace(wanted, origins=(plain(hub),)), connections=1)
        assert hub.connections == 2

    def test_for_ever(self, hub: Hub, wanted: Wanted) -> None:
        hub.faults[NAME] = Fault(status=429, times=1000, retry_after="1000")
        problem = problem_of(wanted)
        assert "found HTTP status 429 from" in problem
        assert "(3 times in a row, and the server asks to wait 1000 s (at most 0.2 s))" in problem
        assert len(hub.settle()) == 3

    @pytest.mark.parametrize(
        ("fault", "kind", "after"),
        [
            (Fault(status=429, retry_after="7"), "BusyError", 7),
            (Fault(status=503, retry_after="soon"), "BusyError", None),
            (Fault(status=429), "BusyError", None),
            (Fault(status=403, retry_after="9"), "BusyError", 9),
            (Fault(status=403, message="You have hit the rate limit"), "BusyError", None),
            (Fault(status=403), "RefusedError", None),
            (Fault(status=403, where="storage"), "ExpiredError", None),
            (Fault(status=401, where="storage"), "ExpiredError", None),
            (Fault(status=410, where="storage"), "ExpiredError", None),
            (Fault(status=404, where="storage"), "RefusedError", None),
            (Fault(status=500), "BrokenError", None),
        ],
        ids=lambda value: f"{value.status}{value.where}{value.retry_after}" if isinstance(value, Fault) else None,
    )
    def test_what_an_answer_means(self, hub: Hub, wanted: Wanted, fault: Fault, kind: str, after: float | None) -> None:
        hub.faults[NAME] = fault
        error = _ask(hub, wanted)
        assert (type(error).__name__, getattr(error, "after", None)) == (kind, after)

    def test_a_date_to_wait_for(self, hub: Hub, wanted: Wanted) -> None:
        hub.faults[NAME] = Fault(status=429, retry_after=email.utils.formatdate(time.time() + 120, usegmt=True))
        assert 110 < getattr(_ask(hub, wanted), "after") <= 121  # noqa: B009 - its type lacks it

    def test_one_connection_and_slowly_more(self) -> None:
        pace = Pace(4)
        source = Source(typing.cast("http_origin.RemoteFile", None), pace, 0)
        source.failed(BusyError("x", 7), 0, 100.0, Manner(), last=True)
        assert (pace.allowed, pace.not_before) == (1, 107.0)
        source.failed(BusyError("x", 100000), 0, 100.0, Manner(), last=True)
        assert (pace.not_before, source.failures) == (
            400.0,
            1,
        )  # capped; and asked in the same round, so the same failure
        grown = []
        for _segment in range(20):
            pace.delivered()
            grown.append(pace.allowed)
        assert grown == [1] * 3 + [2] * 4 + [3] * 4 + [4] * 9

    def test_waits_grow_where_none_is_told(self) -> None:
        source = Source(typing.cast("http_origin.RemoteFile", None), Pace(4), 0)
        ready = []
        for number in range(7):
            source.failed(BrokenError("x"), number, 0.0, Manner(), last=True)
            ready.append(source.not_before)
        assert ready == [0.25, 0.5, 1, 2, 4, 8, 16]
        assert source.given_up == ""
        source.failed(BrokenError("x"), 7, 0.0, Manner(), last=True)
        assert source.given_up == "x"


def _ask(hub: Hub, wanted: Wanted) -> OriginError:
    pool = Pool(Limits(5))
    remote = http_origin.RemoteFile(pool, Origin(repo(hub).url), wanted.size, wanted.sha256)
    try:
        with pytest.raises(OriginError) as caught:
            remote.ask(0, SEGMENT)
    finally:
        pool.close()
    return caught.value


class TestSignedLocations:
    def test_an_expired_one_is_resolved_again(self, hub: Hub, wanted: Wanted) -> None:
        hub.faults[NAME] = Fault(uses=5)
        assert fetch(wanted) == Received(SIZE, 0)
        assert_right(wanted)
        assert hub.sent == SIZE
        assert len(requests(hub, "front")) == 3, "as twelve segments need three"
        assert 2 <= len(requests(hub, "storage", 403)) <= 2 * 4
        assert not any(entry.authorized for entry in requests(hub, "storage"))

    def test_threads_resolve_it_once(self, hub: Hub, wanted: Wanted) -> None:
        hub.faults[NAME] = Fault(delay=0.2)
        pool = Pool(Limits(5))
        remote = http_origin.RemoteFile(pool, Origin(repo(hub).url), wanted.size, wanted.sha256)
        threads = [threading.Thread(target=lambda: remote.ask(0, 1).close()) for _number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        pool.close()
        assert (len(requests(hub, "front")), len(requests(hub, "storage", 206))) == (1, 4)

    def test_one_that_is_never_good(self, hub: Hub, wanted: Wanted) -> None:
        hub.faults[NAME] = Fault(status=403, times=1000, where="storage")
        assert f"HTTP status 403 from http://127.0.0.1:{hub.storage_port}/{wanted.sha256} from {hub.url}" in problem_of(
            wanted
        )
        assert len(requests(hub, "front")) == 3

    def test_the_redirect_tells_of_another_file(self, hub: Hub, wanted: Wanted) -> None:
        assert f"found a file of {SIZE} bytes from" in problem_of(dataclasses.replace(wanted, size=SIZE - 1))
        assert f"found a file with sha256 {wanted.sha256} from" in problem_of(
            dataclasses.replace(wanted, sha256="0" * 64)
        )
        assert hub.sent == 0


class TestFewBytesAtATime:
    """Progress that would end in tens of thousands of requests is none."""

    def test_ranges_of_a_few_bytes(self, hub: Hub, wanted: Wanted) -> None:
        hub.faults[NAME] = Fault(most=100)
        problem = problem_of(wanted)
        assert f"found 100 bytes where {SEGMENT} were asked for from" in problem
        assert "(4 times in a row)" in problem
        assert len(requests(hub, "storage")) == QUICK.tries

    def test_ranges_of_a_few_bytes_after_a_good_one(self, wanted: Wanted) -> None:
        def answer(asked: Asked, peer: Peer) -> None:
            body = DATA[asked.first : asked.first + (100 if asked.first else 5000)]
            peer.reply(206, body, [("Content-Range", f"bytes {asked.first}-{asked.first + len(body) - 1}/{SIZE}")])

        with RawServer(answer).serving() as server:
            problem = problem_of(dataclasses.replace(wanted, origins=(Origin(f"{server.url}/x"),)), connections=1)
            assert "found 100 bytes where" in problem
            assert len(server.asked) == 1 + QUICK.tries

    def test_ranges_that_are_short_but_not_that_short(self, hub: Hub, wanted: Wanted) -> None:
        hub.faults[NAME] = Fault(most=4 * QUICK.step)
        assert fetch(wanted) == Received(SIZE, 0)
        assert_right(wanted)

    def test_answers_that_break_off_after_a_few_bytes(self, wanted: Wanted) -> None:
        def answer(asked: Asked, peer: Peer) -> None:
            last = int(asked.headers["range"].rpartition("-")[2])
            told = [("Content-Range", f"bytes {asked.first}-{last}/{SIZE}")]
            peer.reply(
                206,
                DATA[asked.first : asked.first + (512 if asked.first else 5000)],
                told,
                length=last + 1 - asked.first,
            )

        with RawServer(answer).serving() as server:
            problem = problem_of(dataclasses.replace(wanted, origins=(Origin(f"{server.url}/x"),)), connections=1)
            assert "(4 times in a row)" in problem
            assert len(server.asked) < 4 * (SIZE // QUICK.step), "as every few of them count as progress"

    @pytest.mark.parametrize("rate", [0.02, 1.5])
    def test_a_byte_at_a_time(self, wanted: Wanted, rate: float) -> None:
        def answer(asked: Asked, peer: Peer) -> None:
            last = int(asked.headers["range"].rpartition("-")[2])
            head = (
                f"HTTP/1.1 206 x\r\nContent-Range: bytes {asked.first}-{last}/{SIZE}\r\nContent-Length: "
                f"{last + 1 - asked.first}\r\n\r\n"
            )
            peer.send(head.encode())
            peer.dribble(DATA[asked.first :], rate)

        manner = dataclasses.replace(QUICK, stall=1.0)
        with RawServer(answer).serving() as server:
            problem = problem_of(
                dataclasses.replace(wanted, origins=(Origin(f"{server.url}/x"),)), connections=1, manner=manner
            )
            assert "no byte for 1 s" in problem or (rate < 1 and "fewer than 1024 a second" in problem)
            assert len(server.asked) == QUICK.tries
