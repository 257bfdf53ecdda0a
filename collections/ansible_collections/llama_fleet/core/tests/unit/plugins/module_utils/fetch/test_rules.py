# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test where a request may go and which secrets it may carry."""

from __future__ import annotations

import socket

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch import rules
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.rules import RefusedError, Road, origin_of

SECRET = {"Authorization": "Bearer secret"}


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://Hub.example/x", ("https", "hub.example:443")),
        ("http://hub.example:80", ("http", "hub.example:80")),
        ("https://user:word@hub.example:8443/x?y", ("https", "hub.example:8443")),
        ("http://[::1]:9/", ("http", "[::1]:9")),
    ],
)
def test_an_origin_is_scheme_host_and_port(url: str, origin: tuple[str, str]) -> None:
    assert origin_of(url) == origin


@pytest.mark.parametrize(
    "url",
    [
        "gopher://hub.example:70/x",
        "ftp://hub.example:21/x",
        "file:///etc/passwd",
        "file://hub.example:80/x",
        "data:,x",
        "//hub.example/x",
        "/x",
        "",
        "http://",
        "http://:80/x",
        "http://[::1/x",
        "http://hub.example:99999/x",
        "http://hub.example:x/",
        "unix:/run/x",
        "javascript:0",
    ],
)
def test_nothing_but_http_and_https_is_an_address(url: str) -> None:
    with pytest.raises(RefusedError, match="an address"):
        origin_of(url)
    with pytest.raises(RefusedError):
        Road(url)
    road = Road("https://hub.example/a")
    if url.partition(":")[0] in ("gopher", "ftp", "file", "data", "unix", "javascript"):
        with pytest.raises(RefusedError):
            road.follow(road.begin(), url)


@pytest.mark.parametrize(
    "address",
    [
        *(
            "127.0.0.1",
            "127.8.9.10",
            "0.0.0.0",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.0.1",
            "169.254.169.254",
            "100.64.0.1",
            "224.0.0.1",
        ),
        *("255.255.255.255", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12:3456::1", "fec0::1", "ff02::1"),
        *(
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "2002:7f00:1::",
            "2002:a00:1::1",
        ),
    ],
)
def test_private_addresses(address: str) -> None:
    assert rules.is_private(address)


@pytest.mark.parametrize(
    "address",
    ["1.1.1.1", "8.8.8.8", "172.32.0.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1"],
)
def test_public_addresses(address: str) -> None:
    assert not rules.is_private(address)


@pytest.mark.parametrize(
    ("target", "kept"),
    [
        ("/b", True),
        ("https://hub.example:443/b", True),
        ("http://hub.example/b", False),  # the same host without TLS
        ("http://hub.example:443/b", False),
        ("https://hub.example:8443/b", False),
        ("https://cdn.hub.example/b", False),
        ("https://hub.example@evil.example/b", False),
        ("//evil.example/b", False),
    ],
)
def test_a_secret_goes_to_the_origin_that_it_was_given_for(
    monkeypatch: pytest.MonkeyPatch, target: str, kept: bool
) -> None:
    monkeypatch.setattr(rules, "is_private_name", lambda _netloc: False)
    road = Road("https://hub.example/a", SECRET)
    assert road.begin().secrets == SECRET
    assert road.follow(road.begin(), target).secrets == (SECRET if kept else {})
    if target.startswith("https://"):
        assert road.begin(target).secrets == (SECRET if kept else {})


def test_a_secret_that_was_left_behind_is_not_taken_up_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "is_private_name", lambda _netloc: False)
    road = Road("https://hub.example/a", SECRET)
    away = road.follow(road.begin(), "https://evil.example/")
    assert road.follow(away, "https://hub.example/delete").secrets == {}


def test_a_login_in_an_address_is_a_secret_of_its_origin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "is_private_name", lambda _netloc: False)
    road = Road("https://user:p%40ss@index.example/simple/")
    assert (road.begin().url, road.begin().secrets) == (
        "https://index.example/simple/",
        {"Authorization": "Basic dXNlcjpwQHNz"},
    )
    assert road.begin("https://index.example/files/x").secrets == {"Authorization": "Basic dXNlcjpwQHNz"}
    assert road.begin("https://files.example/x").secrets == {}
    other = road.follow(road.begin(), "https://root:toor@files.example/x#part")
    assert (other.url, other.secrets) == ("https://files.example/x", {})
    assert "p%40ss" not in repr(other) + repr(road.begin())


@pytest.mark.parametrize(("private", "public"), [(False, True), (True, False)])
def test_only_a_private_endpoint_leads_to_private_addresses(
    monkeypatch: pytest.MonkeyPatch, private: bool, public: bool
) -> None:
    asked: list[str] = []

    def look(netloc: str) -> bool:
        asked.append(netloc)
        return private

    monkeypatch.setattr(rules, "is_private_name", look)
    road = Road("https://hub.example/a")
    assert not road.begin().public
    assert not road.follow(road.begin(), "/b").public
    assert asked == [], "no lookup while requests stay at the endpoint"
    assert road.follow(road.begin(), "https://cdn.example/b").public is public
    assert road.begin("https://cdn.example/b").public is public
    assert asked == ["hub.example:443"]


@pytest.mark.parametrize(
    ("addresses", "refused"),
    [
        (["8.8.8.8"], False),
        (["8.8.8.8", "::1"], True),
        (["2606:4700::1111", "127.0.0.1"], True),
        (["169.254.169.254"], True),
        ([], False),
    ],
)
def test_one_private_address_of_a_name_is_enough(addresses: list[str], refused: bool) -> None:
    infos = [(int(socket.AF_INET), int(socket.SOCK_STREAM), 6, "", (address, 80)) for address in addresses]
    if refused:
        with pytest.raises(RefusedError, match=r"a link or redirect of a public server to the private address name \("):
            rules.require_public("name", infos)
    else:
        rules.require_public("name", infos)


def test_a_name_that_cannot_be_resolved_makes_no_private_endpoint() -> None:
    assert not rules.is_private_name("nowhere.invalid:443")
    assert rules.is_private_name("127.0.0.1:80")
    assert rules.is_private_name("[::1]:80")
    assert rules.is_private_name("localhost:80")
