# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test single HTTP requests: where redirects lead them, which headers they carry, and which are tried again."""

from __future__ import annotations

import email.utils
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch import ask as http_ask
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.ask import Patience, opened, tried
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.pool import Pool
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.rules import BrokenError, RefusedError, Road
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.status import BusyError
from ansible_collections.llama_fleet.core.tests.unit.fakes.asking import QUICK, SECRET, Serve, here, read, refused, to

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.tests.unit.raw_server import Asked, Peer


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
