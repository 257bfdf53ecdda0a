# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test single HTTP requests: where redirects lead them, which headers they carry, and that they always end."""

from __future__ import annotations

import contextlib
import dataclasses
import email.utils
import time
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch import ask as http_ask
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch import rules
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.ask import Patience, opened, tried
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.clock import Limits
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.pool import Pool
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.rules import (
    BrokenError,
    OriginError,
    RefusedError,
    Road,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.status import BusyError
from ansible_collections.llama_fleet.core.tests.unit.raw_server import Asked, Peer, RawServer

QUICK = Patience(seconds=1.0, total=2.0, tries=3, backoff=0.01, longest_wait=0.05)
SECRET = {"Authorization": "Bearer secret"}
Serve = typing.Callable[..., RawServer]


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> typing.Iterator[Serve]:
    """Start servers; 127.0.0.2 and 127.0.0.3 stand for addresses on a public network."""
    monkeypatch.setenv("no_proxy", "*")
    real = rules.is_private
    monkeypatch.setattr(
        rules, "is_private", lambda address: address not in ("127.0.0.2", "127.0.0.3") and real(address)
    )
    with contextlib.ExitStack() as stack:
        yield lambda answer, host="127.0.0.1": stack.enter_context(RawServer(answer, host).serving())


def here(asked: Asked, peer: Peer) -> None:
    del asked
    peer.reply(200, b"here")


def to(target: str, status: int = 302) -> typing.Callable[[Asked, Peer], None]:
    return lambda _asked, peer: peer.reply(status, headers=[("Location", target)])


def read(url: str, patience: Patience = QUICK) -> bytes:
    return http_ask.read(url, 1 << 20, patience=patience).body


def refused(url: str, patience: Patience = QUICK) -> str:
    with pytest.raises(OriginError) as caught:
        read(url, patience)
    return f"{caught.value}{caught.value.limit}"


class TestWhereItLeads:
    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    def test_a_redirect_is_followed_without_the_secret(self, serve: Serve, status: int) -> None:
        there = serve(here, "127.0.0.3")
        first = serve(to(f"{there.url}/x", status), "127.0.0.2")
        road = Road(first.url, SECRET)
        with opened(road, road.begin(), {}, QUICK.small) as reached:
            assert (reached.answer.status, reached.answer.body(9)) == (200, b"here")
        assert [each.authorization for each in (*first.asked, *there.asked)] == ["Bearer secret", ""]

    @pytest.mark.parametrize("kind", ["127.0.0.1", "localhost"])
    def test_a_public_server_leads_to_no_private_address(self, serve: Serve, kind: str) -> None:
        there = serve(here)
        first = serve(to(f"http://{kind}:{there.port}/x"), "127.0.0.2")
        assert "a link or redirect of a public server to the private address" in refused(first.url)
        assert (len(first.asked), there.asked) == (1, [])

    def test_a_private_server_leads_where_it_likes(self, serve: Serve) -> None:
        there = serve(here)
        assert read(serve(to(there.url)).url) == b"here"
        assert read(serve(to(serve(here, "127.0.0.2").url)).url) == b"here"

    def test_a_public_server_is_led_back_by_no_detour(self, serve: Serve) -> None:
        inside = serve(here)
        second = serve(to(inside.url), "127.0.0.3")
        assert "private address" in refused(serve(to(second.url), "127.0.0.2").url)
        assert inside.asked == []

    def test_a_connection_of_somebody_who_may_is_not_borrowed(self, serve: Serve) -> None:
        """Share one pool between two files:

        the public origin of the second leads to the private mirror of the first.
        """

        def kept(asked: Asked, peer: Peer) -> None:
            del asked
            peer.send(b"HTTP/1.1 200 x\r\nContent-Length: 4\r\n\r\nhere")
            peer.silent()

        inside = serve(kept)
        pool = Pool(QUICK.small)
        try:
            own = Road(inside.url)
            answer = pool.ask(own.begin(), {})
            assert answer.body(9) == b"here"
            answer.close()
            road = Road(serve(to(inside.url), "127.0.0.2").url)
            with pytest.raises(RefusedError, match="private address"):
                http_ask.reach(pool, road, road.begin(), {})
        finally:
            pool.close()
        assert len(inside.asked) == 1

    @pytest.mark.parametrize(
        "target",
        ["gopher://127.0.0.1:{port}/x", "ftp://127.0.0.1:{port}/x", "file:///etc/hostname", "", "http://[::1/"],
    )
    def test_a_redirect_to_what_is_no_web_server(self, serve: Serve, target: str) -> None:
        there = serve(here)
        assert read(there.url) == b"here"
        said = refused(serve(to(target.format(port=there.port))).url)
        assert "an address" in said or said == "a redirect without a valid target"
        assert len(there.asked) == 1

    def test_redirects_without_an_end(self, serve: Serve) -> None:
        server = serve(to("/x"))
        assert refused(server.url) == "more than 10 redirects"
        assert len(server.asked) == 11

    def test_through_a_proxy_to_a_private_address(self, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
        inside = serve(here)
        proxy = serve(to(f"http://127.0.0.1:{inside.port}/"))
        monkeypatch.setenv("no_proxy", "")
        monkeypatch.setenv("http_proxy", proxy.url)
        assert "private address" in refused("http://127.0.0.2:9/x")
        assert [asked.path for asked in proxy.asked] == ["http://127.0.0.2:9/x"]
        assert inside.asked == []


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


class TestAgain:
    @pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
    def test_what_passes_is_asked_again(self, serve: Serve, status: int) -> None:
        server = serve(lambda _asked, peer: peer.reply(200, b"here") if len(server.asked) > 2 else peer.reply(status))
        assert read(server.url) == b"here"
        assert len(server.asked) == 3
        server.asked.clear()
        server.answer = lambda _asked, peer: peer.reply(status)
        assert refused(server.url) == f"HTTP status {status} (3 times in a row)"
        assert len(server.asked) == 3

    def test_a_reset_is_asked_again(self, serve: Serve) -> None:
        server = serve(lambda _asked, peer: peer.reply(200, b"here") if len(server.asked) > 2 else peer.reset())
        assert read(server.url) == b"here"
        assert len(server.asked) == 3

    @pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 416, 451, 304, 204])
    def test_what_does_not_pass_is_not(self, serve: Serve, status: int) -> None:
        server = serve(lambda _asked, peer: peer.reply(status))
        assert refused(server.url) == f"HTTP status {status}"
        assert len(server.asked) == 1

    @pytest.mark.parametrize(
        ("told", "waits"),
        [
            ("7", [7, 7, 7, 7]),
            ("0", [0, 0, 0, 0]),
            ("86400", [60, 60]),
            ("-5", [0.25, 0.5, 1, 2]),
            ("soon", [0.25, 0.5, 1, 2]),
            ("²", [0.25, 0.5, 1, 2]),
            ("9" * 5000, [0.25, 0.5, 1, 2]),
            ("1e3", [0.25, 0.5, 1, 2]),
            (email.utils.formatdate(0, usegmt=True), [0, 0, 0, 0]),
            ("Mon, 99 Foo 2026 99:99:99 GMT", [0.25, 0.5, 1, 2]),
        ],
        ids=lambda value: value[:30] if isinstance(value, str) else "",
    )
    def test_what_a_server_asks_for_is_waited_for_up_to_a_bound(
        self, serve: Serve, monkeypatch: pytest.MonkeyPatch, told: str, waits: list[float]
    ) -> None:
        slept: list[float] = []
        monkeypatch.setattr("time.sleep", slept.append)
        server = serve(lambda _asked, peer: peer.reply(429, headers=[("Retry-After", told)]))
        said = refused(server.url, Patience())
        assert slept == waits
        assert len(server.asked) == len(waits) + 1
        if told == "86400":
            assert said.endswith("(3 times in a row, and the server asks to wait 86400 s (at most 60 s))")

    def test_a_date_in_the_future_is_waited_for(self, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
        slept: list[float] = []
        monkeypatch.setattr("time.sleep", slept.append)
        dates = [
            ("Date", email.utils.formatdate(1_000_000, usegmt=True)),
            ("Retry-After", email.utils.formatdate(1_000_009, usegmt=True)),
        ]
        server = serve(
            lambda _asked, peer: peer.reply(200, b"here") if len(server.asked) > 1 else peer.reply(503, headers=dates)
        )
        assert read(server.url) == b"here"
        assert slept == [0.05]
        server.asked.clear()
        assert read(server.url, Patience()) == b"here"
        assert slept[1:] == [9]

    def test_a_few_bytes_at_a_time_begin_no_count_anew(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("time.sleep", lambda _seconds: None)
        have = [0]

        def ask(step: int) -> None:
            have[0] += step
            if have[0] < 100 * QUICK.step:
                raise BrokenError("broken")

        with pytest.raises(BrokenError):
            tried(lambda: ask(1000), QUICK, lambda: have[0])
        assert have == [3000]
        have[0] = 0
        tried(lambda: ask(QUICK.step), QUICK, lambda: have[0])
        assert have == [100 * QUICK.step]

    def test_a_busy_server_is_one_that_may_pass(self) -> None:
        def ask() -> None:
            raise BusyError("x", None)

        with pytest.raises(BusyError) as caught:
            tried(ask, QUICK)
        assert caught.value.limit == " (3 times in a row)"
