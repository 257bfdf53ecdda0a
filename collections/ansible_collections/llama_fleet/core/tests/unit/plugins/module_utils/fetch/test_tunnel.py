# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test requests through real proxies, to servers with real TLS and a certificate of the site's own authority."""

from __future__ import annotations

import contextlib
import socket
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch import proxies, tunnel
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.ask import remedy
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.rules import BrokenError, OriginError
from ansible_collections.llama_fleet.core.tests.unit.fakes.asking import failed, read
from ansible_collections.llama_fleet.core.tests.unit.fakes.site_network import Site, authority

LOGIN = "me:s3cr/t@"
QUOTED = "me:s3cr%2Ft%40"


class TestProxies:
    @pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
    @pytest.mark.parametrize("behind", ["127.0.0.1", "::1"])
    @pytest.mark.parametrize("scheme", ["http", "https", "socks5", "socks5h"])
    @pytest.mark.parametrize("tls", [False, True])
    def test_every_kind(self, site: Site, host: str, behind: str, scheme: str, tls: bool) -> None:
        proxy = site.proxy(host=host, login=LOGIN, tls=authority().server() if scheme == "https" else None)
        server = site.server(behind, tls)
        site.trusts()
        site.has(all_proxy=proxy.url(scheme, QUOTED))
        assert read(f"{server.url}/x") == b"here"
        place = f"[{behind}]:{server.port}" if behind == "::1" else f"{behind}:{server.port}"
        kind = "SOCKS " if scheme.startswith("socks") else "CONNECT " if tls else "GET http://"
        target = {"SOCKS ": place.replace("[", "").replace("]", ""), "CONNECT ": place}.get(kind, f"{place}/x")
        assert proxy.asked == [kind + target]
        assert [(asked.path, asked.headers["host"]) for asked in server.asked] == [("/x", place)]
        assert not [name for name in server.asked[0].headers if name.startswith("proxy-")]

    @pytest.mark.parametrize("scheme", ["http", "socks5h"])
    def test_a_name_that_only_the_proxy_resolves(self, site: Site, scheme: str) -> None:
        proxy, server = site.proxy(), site.server(tls=True)
        site.trusts()
        site.has(https_proxy=proxy.url(scheme))
        assert read(f"https://models.site:{server.port}/x") == b"here"
        assert proxy.asked == [f"{'CONNECT' if scheme == 'http' else 'SOCKS'} models.site:{server.port}"]

    def test_socks5_resolves_here(self, site: Site) -> None:
        proxy, server = site.proxy(), site.server()
        site.has(http_proxy=proxy.url("socks5"), no_proxy="127.0.0.0/8")
        assert read(f"http://localhost:{server.port}/") == b"here"
        assert proxy.asked in ([f"SOCKS 127.0.0.1:{server.port}"], [f"SOCKS ::1:{server.port}"])

    @pytest.mark.parametrize("tls", [False, True])
    @pytest.mark.parametrize(
        ("host", "no_proxy"),
        [("127.0.0.1", "localhost,127.0.0.0/8"), ("127.0.0.1", "[::1] 127.0.0.1"), ("::1", "10.0.0.0/8,::1/128")],
    )
    def test_a_mirror_inside_is_asked_directly(self, site: Site, tls: bool, host: str, no_proxy: str) -> None:
        server = site.server(host, tls)
        site.trusts()
        site.has(http_proxy="http://127.0.0.1:9", https_proxy="http://127.0.0.1:9", NO_PROXY=no_proxy)
        assert read(f"{server.url}/x") == b"here"

    @pytest.mark.parametrize("login", ["", "me:wr0ng"])
    @pytest.mark.parametrize("tls", [False, True])
    def test_a_proxy_that_wants_a_login_is_asked_once(self, site: Site, tls: bool, login: str) -> None:
        proxy, server = site.proxy(login=LOGIN), site.server(tls=tls)
        site.has(all_proxy=proxy.url("http", login))
        said = failed(f"{server.url}/x")
        assert "HTTP status 407" in said
        assert said.endswith(f", through the proxy http://{proxy.address}")
        assert "user:password@host:port" in remedy(said)
        assert "wr0ng" not in said
        assert (len(proxy.asked), server.asked) == (1, [])

    @pytest.mark.parametrize(("login", "reason"), [("", "wants a user"), ("me:wr0ng", "refused the user")])
    def test_a_socks_proxy_that_wants_a_login(self, site: Site, login: str, reason: str) -> None:
        proxy = site.proxy(login=LOGIN)
        site.has(all_proxy=proxy.url("socks5h", login))
        said = failed("https://models.site/x")
        assert reason in said
        assert said.endswith(f", through the proxy socks5h://{proxy.address}")
        assert "wr0ng" not in said

    @pytest.mark.parametrize(
        ("refusal", "times"), [("403 Forbidden", 1), ("404 Not Found", 1), ("502 Bad Gateway", 3), ("503 x", 3)]
    )
    def test_a_proxy_that_refuses_a_tunnel(self, site: Site, refusal: str, times: int) -> None:
        proxy = site.proxy(refusal=refusal)
        site.has(https_proxy=proxy.url())
        said = failed("https://models.site/x")
        assert said.startswith(
            f"no answer from https://models.site/x (the proxy refused CONNECT with HTTP status {refusal}), through the"
        )
        assert len(proxy.asked) == times
        with pytest.raises(OriginError) as caught:
            read("https://models.site/x")
        assert caught.value.status == 0  # a 404 of the proxy says nothing about the file

    @pytest.mark.parametrize("scheme", ["http", "https", "socks5h"])
    @pytest.mark.parametrize("tls", ["http", "https"])
    def test_a_dead_proxy_is_named(self, site: Site, scheme: str, tls: str) -> None:
        site.has(all_proxy=f"{scheme}://me:s3cr3t@127.0.0.1:9")
        said = failed(f"{tls}://models.site/x")
        assert said == (
            f"no answer from {tls}://models.site/x (Connection refused), through the proxy {scheme}://127.0.0.1:9"
            " (3 times in a row)"
        )

    def test_what_is_no_proxy_is_told_without_its_password(self, site: Site) -> None:
        site.has(https_proxy="http://me:s3cr#t@proxy.site:3128")
        said = failed("https://models.site/x")
        assert said.startswith("a value of https_proxy that is not the address of a proxy")
        assert remedy(said).startswith("correct the variable")
        assert "s3cr" not in said

    def test_a_proxy_of_another_kind(self, site: Site) -> None:
        site.has(ALL_PROXY="socks://127.0.0.1:7891/")
        assert remedy(failed("https://models.site/x")) == "write socks5h:// for a SOCKS5 proxy"

    def test_a_proxy_that_speaks_no_tls(self, site: Site) -> None:
        proxy = site.proxy(refusal="400 Bad Request", answers_all=True)
        site.has(https_proxy=proxy.url("https"))
        said = failed("https://models.site/x")
        assert f"through the proxy https://{proxy.address}" in said
        assert remedy(said).startswith("write http:// instead")

    def test_a_server_that_speaks_no_socks(self, site: Site) -> None:
        server = site.server()
        site.has(all_proxy=f"socks5h://127.0.0.1:{server.port}")
        with pytest.raises(BrokenError, match="timed out"):
            read("https://models.site/x")

    def test_the_proxy_of_a_status_is_named(self, site: Site) -> None:
        proxy = site.proxy(refusal="403 Forbidden")
        site.has(http_proxy=proxy.url())
        assert failed("http://models.site/x") == (
            f"HTTP status 403 from http://models.site/x, through the proxy http://{proxy.address}"
        )

    def test_a_link_local_server(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        server = site.server("::1")
        real = socket.getaddrinfo

        def resolve(host: str, *more: typing.Any, **settings: typing.Any) -> typing.Any:
            return real("::1" if host == "fe80::1%eth0" else host, *more, **settings)

        monkeypatch.setattr(socket, "getaddrinfo", resolve)
        assert read(f"http://[fe80::1%25eth0]:{server.port}/x") == b"here"
        assert server.asked[0].headers["host"] == f"[fe80::1]:{server.port}"
        site.has(http_proxy="http://127.0.0.1:9")
        assert "list it in no_proxy" in failed(f"http://[fe80::1%25eth0]:{server.port}/x")


class Dripping:
    """A socket to a SOCKS5 proxy that sends one byte of ``answer`` in each two seconds of its own clock."""

    def __init__(self, answer: bytes, seconds: float) -> None:
        self.answer, self.now = answer, 0.0
        self.timeout: float | None = seconds

    def monotonic(self) -> float:
        return self.now

    def gettimeout(self) -> float | None:
        return self.timeout

    def settimeout(self, seconds: float | None) -> None:
        self.timeout = seconds

    def sendall(self, _data: bytes) -> None:
        """Take it."""

    def recv(self, _count: int) -> bytes:
        self.now += 2.0
        byte, self.answer = self.answer[:1], self.answer[1:]
        return byte


def _ask(seconds: float, monkeypatch: pytest.MonkeyPatch) -> Dripping:
    line = Dripping(b"\x05\x00\x05\x00\x00\x01" + b"\x00" * 6, seconds)
    monkeypatch.setattr(tunnel, "time", line)
    with contextlib.suppress(TimeoutError):
        tunnel.socks(typing.cast("socket.socket", line), "192.0.2.1", 80, proxies.parse("all_proxy", "socks5h://p:1"))
    return line


def test_a_socks_proxy_has_one_limit_for_its_whole_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(_ask(5.0, monkeypatch).answer) == 9
    whole = _ask(60.0, monkeypatch)
    assert (whole.answer, whole.timeout) == (b"", 60.0)
