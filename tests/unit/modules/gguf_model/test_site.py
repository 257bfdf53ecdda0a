# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The module in a site's network: proxies, no_proxy and an authority of the site's own, read by one rule."""

from __future__ import annotations

import pathlib
import typing

import pytest

from ansible_collections.llama_fleet.core.tests.unit.fakes.site_network import SiteProxy, authority, leave_network
from tests.unit.modules.gguf_model.case import SHARDS, SIZE, TOKEN, Result, call, problem, weights

if typing.TYPE_CHECKING:
    from tests.hub import Hub

DEAD = "http://me:s3cr3t@127.0.0.1:9"


@pytest.fixture(autouse=True)
def no_network_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    leave_network(monkeypatch)


@pytest.fixture
def proxy() -> typing.Iterator[SiteProxy]:
    with SiteProxy(login="me:s3cr3t").serving() as serving:
        yield serving


def came(done: Result) -> bool:
    return [pathlib.Path(file["path"]).read_bytes() for file in done["files"]] == [weights(name) for name in SHARDS]


@pytest.mark.parametrize(
    "no_proxy",
    [
        "localhost,127.0.0.0/8",
        "localhost , 127.0.0.1",
        "10.0.0.0/8 127.0.0.0/8",
        "::1/128,[::1],[::1]:80,fd00::/8,127.0.0.1",
        "*",
    ],
)
def test_a_mirror_inside_is_asked_without_the_proxy(
    wanted: Result, monkeypatch: pytest.MonkeyPatch, no_proxy: str
) -> None:
    for name in ("http_proxy", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, DEAD)
    monkeypatch.setenv("no_proxy", no_proxy)
    assert came(call(wanted))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("all_proxy", "socks5h://{}"),
        ("ALL_PROXY", "http://{}"),
        ("HTTP_PROXY", "{}"),
        ("http_proxy", "socks5://{}"),
    ],
)
def test_everything_goes_through_the_proxy(
    hub: Hub, wanted: Result, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    with SiteProxy().serving() as proxy:
        monkeypatch.setenv(name, value.format(proxy.address))
        assert came(call(wanted))
    reached = {entry.origin for entry in hub.settle()}
    assert reached == {"front", "storage"}
    assert len(proxy.asked) >= 2
    assert {f":{port}" in " ".join(proxy.asked) for port in (hub.port, hub.storage_port)} == {True}


def test_the_value_that_other_libraries_fail_at(wanted: Result, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nonexistent")
    monkeypatch.setenv("https_proxy", "socks://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "[::1],fe80::/10")
    assert came(call(wanted))


def test_a_dead_proxy_is_named_by_each_request(wanted: Result, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    monkeypatch.setenv("http_proxy", DEAD)
    said = problem(wanted)
    assert "no answer from http://127.0.0.1:" in said
    assert "(Connection refused) for" not in said
    assert ", through the proxy http://127.0.0.1:9 " in said
    assert "s3cr3t" not in said


def test_a_proxy_that_dies_after_the_plan_is_named(
    hub: Hub, wanted: Result, monkeypatch: pytest.MonkeyPatch, proxy: SiteProxy
) -> None:
    """The bytes come from another server than the listing, through a proxy that refuses it."""
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    monkeypatch.setenv("http_proxy", proxy.url("http", "me:s3cr3t"))
    monkeypatch.setenv("no_proxy", f"127.0.0.1:{hub.port}")
    plan = call(wanted, check_mode=True)
    assert plan["would_change"]
    monkeypatch.setenv("http_proxy", proxy.url("http", "me:wr0ng"))
    said = problem(wanted)
    assert "HTTP status 407" in said
    assert f", through the proxy http://{proxy.address}" in said
    assert "user:password@host:port" in said
    assert "wr0ng" not in said
    assert not [entry for entry in hub.settle() if entry.origin == "storage" and entry.sent > SIZE]


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"])
def test_a_hub_with_a_certificate_of_the_site(
    hub: Hub, wanted: Result, monkeypatch: pytest.MonkeyPatch, proxy: SiteProxy, variable: str
) -> None:
    hub._front.socket = authority().server().wrap_socket(hub._front.socket, server_side=True)
    secure = {**wanted, "endpoint": f"https://models.site:{hub.port}"}
    monkeypatch.setenv("all_proxy", proxy.url("http", "me:s3cr3t"))
    said = problem(secure)
    assert "CERTIFICATE_VERIFY_FAILED" in said
    assert f", through the proxy http://{proxy.address}, checked against the system's authorities" in said
    assert "update-ca-certificates" in said
    monkeypatch.setenv(variable, authority().certificate)
    assert came(call(secure, token=TOKEN))
    assert f"CONNECT models.site:{hub.port}" in proxy.asked
    assert any(each.startswith(f"GET http://models.site:{hub.storage_port}/") for each in proxy.asked)
