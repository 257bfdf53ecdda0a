# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test that every HTTP request ends: by its answer, or within its time limit."""

from __future__ import annotations

import dataclasses
import time
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch import ask as http_ask
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.ask import opened
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.clock import Limits
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.rules import OriginError, Road
from ansible_collections.llama_fleet.core.tests.unit.fakes.asking import QUICK, Serve, read, refused

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.tests.unit.raw_server import Asked, Peer

BODY = b"x" * 600
HEAD = b"HTTP/1.1 200 x\r\nContent-Length: 600\r\n\r\n"


class TestHowLongItTakes:
    @pytest.mark.parametrize(
        ("answer", "said"),
        [
            (lambda _asked, peer: peer.silent(), "no byte for 1 s"),
            (
                lambda _asked, peer: peer.dribble(b"HTTP/1.1 200 x\r\n" + b"X-More: 1\r\n" * 99, 0.05),
                "incomplete headers after 1 s|no byte for 1 s",
            ),
            (
                lambda _asked, peer: peer.dribble(b"HTTP/1.1 100 x\r\n\r\n" * 99, 0.005),
                "incomplete headers after 1 s|no byte for 1 s",
            ),
            (lambda _asked, peer: (peer.send(HEAD), peer.silent()), "no byte for 1 s"),
            (
                lambda _asked, peer: (peer.send(HEAD), peer.dribble(BODY, 0.05)),
                "fewer than 1024 a second|no byte for 1 s",
            ),
        ],
        ids=["nothing", "headers", "only interim answers", "no body", "a byte at a time"],
    )
    def test_a_slow_answer_is_broken_off_and_asked_for_again(
        self, serve: Serve, answer: typing.Callable[[Asked, Peer], None], said: str
    ) -> None:
        server = serve(answer)
        message = refused(server.url, dataclasses.replace(QUICK, total=60))
        assert any(each in message for each in said.split("|")), "a busy machine can fall behind even this rate"
        assert message.endswith("(3 times in a row)")
        assert len(server.asked) == 3

    def test_a_small_answer_has_a_time_for_all_of_it(self, serve: Serve) -> None:
        """Send bytes fast enough for the minimum rate, but without an end in sight."""
        server = serve(
            lambda _asked, peer: (
                peer.send(b"HTTP/1.1 200 x\r\n\r\n"),
                [(peer.send(bytes(64)), peer.dribble(bytes(1), 0.001)) for _number in range(9999)],
            )
        )
        with pytest.raises(OriginError, match=r"an incomplete answer after 2 s"):
            http_ask.read(server.url, 1 << 20, patience=dataclasses.replace(QUICK, tries=1, seconds=30))

    def test_a_large_answer_may_take_as_long_as_bytes_come(self, serve: Serve) -> None:
        server = serve(
            lambda _asked, peer: (
                peer.send(HEAD),
                [peer.dribble(BODY[:100], 0.0) or time.sleep(0.3) for _number in range(6)],
            )
        )
        road = Road(server.url)
        with opened(road, road.begin(), {}, Limits(1.0, least=50)) as reached:
            assert reached.answer.body(600) == BODY

    @pytest.mark.parametrize(
        "body",
        [
            b"1;" + b"x" * 60000 + b"\r\nx\r\n",  # a chunk extension
            b"10000\r\n" + b"x" * 65536 + b"\r\n",
        ],
        ids=["extensions", "chunks"],
    )
    def test_chunks_without_end(self, serve: Serve, body: bytes) -> None:
        def answer(_asked: Asked, peer: Peer) -> None:
            peer.send(b"HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\n")
            for _number in range(500):
                peer.send(body)

        said = refused(serve(answer).url, dataclasses.replace(QUICK, seconds=20, total=20, tries=1))
        assert "an answer with more bytes than requested" in said or "an answer of more than" in said

    def test_trailers_without_end(self, serve: Serve) -> None:
        def answer(_asked: Asked, peer: Peer) -> None:
            peer.send(b"HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n")
            for _number in range(50_000):
                peer.send(b"X-Trailer: " + b"x" * 1000 + b"\r\n")

        road = Road(serve(answer).url)
        with opened(road, road.begin(), {}, Limits(20)) as reached, pytest.raises(OriginError):
            reached.answer.body(1000)

    @pytest.mark.parametrize(
        ("headers", "said"),
        [
            ([("X", "x" * 70_000)], "LineTooLong"),
            ([("X", "x")] * 10_000, "got more than 100 headers"),
            ([("X", "x" * 60_000)] * 17, ""),
        ],
        ids=["one of 70 kB", "10,000", "1 MB in all"],
    )
    def test_headers_have_bounds(self, serve: Serve, headers: list[tuple[str, str]], said: str) -> None:
        server = serve(lambda _asked, peer: peer.reply(200, b"here", headers))
        if said:
            assert said in refused(server.url)
        else:
            assert read(server.url) == b"here"

    def test_a_body_that_says_it_is_large_is_not_read(self, serve: Serve) -> None:
        server = serve(lambda _asked, peer: peer.reply(200, b"", length=1 << 50))
        assert refused(server.url) == f"an answer of {1 << 50} bytes (at most {1 << 20} accepted)"
        assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("times", "wait", "text"),
    [
        (1, 0, ""),
        (5, 0, " (5 times in a row)"),
        (1, 900, " (the server asks to wait 900 s (at most 60 s))"),
        (3, 900, " (3 times in a row, and the server asks to wait 900 s (at most 60 s))"),
    ],
)
def test_the_end_of_retries_is_described(times: int, wait: float, text: str) -> None:
    assert http_ask.limit(times, wait, 60) == text
