# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test which proxy a request uses, by the variables of the environment."""

from __future__ import annotations

import ipaddress
import typing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch import proxies
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.rules import RefusedError

PROXY = "http://proxy.site:3128"


def via(url: str, **environment: str) -> str:
    return proxies.read(environment).via(url).removeprefix(", through the proxy ")


@pytest.mark.parametrize(
    ("environment", "plain", "secure"),
    [
        ({}, "", ""),
        ({"http_proxy": PROXY}, PROXY, ""),
        ({"https_proxy": PROXY}, "", PROXY),
        ({"HTTPS_PROXY": PROXY}, "", PROXY),
        ({"HTTP_PROXY": PROXY}, PROXY, ""),
        ({"HTTP_PROXY": PROXY, "REQUEST_METHOD": "GET"}, "", ""),
        ({"all_proxy": PROXY}, PROXY, PROXY),
        ({"ALL_PROXY": PROXY, "https_proxy": "other.site:8080"}, PROXY, "http://other.site:8080"),
        ({"https_proxy": "http://lower.site:1", "HTTPS_PROXY": PROXY}, "", "http://lower.site:1"),
        ({"https_proxy": "", "HTTPS_PROXY": PROXY, "all_proxy": PROXY}, PROXY, ""),
        ({"all_proxy": PROXY, "HTTPS_PROXY": " "}, PROXY, PROXY),
        ({"all_proxy": "proxy.site"}, "http://proxy.site:80", "http://proxy.site:80"),
        ({"all_proxy": " https://proxy.site/ "}, "https://proxy.site:443", "https://proxy.site:443"),
        ({"all_proxy": "socks5h://proxy.site"}, "socks5h://proxy.site:1080", "socks5h://proxy.site:1080"),
        ({"all_proxy": "socks5://[fd00::5]:9"}, "socks5://[fd00::5]:9", "socks5://[fd00::5]:9"),
        ({"all_proxy": "http://[::1]:3128"}, "http://[::1]:3128", "http://[::1]:3128"),
    ],
)
def test_the_variable_of_a_scheme(environment: dict[str, str], plain: str, secure: str) -> None:
    assert via("http://a.example/x", **environment) == plain
    assert via("https://a.example/x", **environment) == secure


@pytest.mark.parametrize(
    ("no_proxy", "direct", "proxied"),
    [
        ("example.com", ["example.com", "a.example.com", "A.Example.COM.", "example.com:8443"], ["badexample.com"]),
        (".example.com", ["example.com", "a.b.example.com"], ["example.com.evil.org"]),
        ("*.example.com", ["example.com", "a.example.com"], ["example.org"]),
        ("EXAMPLE.com.", ["example.com"], []),
        ("example.com:8443", ["example.com:8443", "a.example.com:8443"], ["example.com", "example.com:443"]),
        ("a.example , b.example", ["a.example", "b.example"], ["c.example"]),
        ("a.example b.example\tc.example", ["a.example", "b.example", "c.example"], ["d.example"]),
        (",, ,", [], ["a.example"]),
        ("*", ["a.example", "10.0.0.1", "[::1]"], []),
        ("localhost,*", ["a.example"], []),
        ("localhost,127.0.0.0/8", ["localhost", "127.0.0.1", "127.8.9.10:21082"], ["128.0.0.1", "a.localhost.example"]),
        ("10.0.0.0/8", ["10.1.2.3"], ["11.0.0.1", "10.example", "my10.0.0.1.example"]),
        ("10.1.2.3/8", ["10.9.9.9"], ["11.1.2.3"]),
        ("10.1.2.3", ["10.1.2.3", "10.1.2.3:8080"], ["10.1.2.30", "210.1.2.3"]),
        ("10.1.2.3:80", ["10.1.2.3:80"], ["10.1.2.3:81"]),
        ("::1", ["[::1]", "[::1]:8080", "[0:0::1]"], ["[::2]", "127.0.0.1"]),
        ("[::1]", ["[::1]", "[::1]:8080"], ["[::2]"]),
        ("[::1]:8080", ["[::1]:8080"], ["[::1]:8081"]),
        ("::1/128,fd00::/8", ["[::1]", "[fd12::5]"], ["[fe00::1]", "10.0.0.1"]),
        ("[fd00::]/8", ["[fd12::5]"], ["[fe80::1]"]),
        ("::ffff:10.0.0.0/104", ["10.2.3.4", "[::ffff:10.2.3.4]"], ["11.0.0.1"]),
        ("10.0.0.0/8", ["[::ffff:10.2.3.4]"], ["[::ffff:11.2.3.4]"]),
        ("fe80::/10", ["[fe80::1%25eth0]"], ["[fd00::1]"]),
        ("fe80::1%eth0", ["[fe80::1%25eth0]"], []),
        ("10.0.0.0/33,a/b,http://x.example", [], ["10.0.0.1", "x.example"]),
    ],
)
def test_no_proxy(no_proxy: str, direct: list[str], proxied: list[str]) -> None:
    for host in direct:
        assert via(f"https://{host}/x", https_proxy=PROXY, no_proxy=no_proxy) == "", host
        assert via(f"https://{host}/x", https_proxy=PROXY, NO_PROXY=no_proxy, no_proxy="") == "", host
    for host in proxied:
        assert via(f"https://{host}/x", https_proxy=PROXY, no_proxy=no_proxy) == PROXY, host


LABEL = st.from_regex(r"[a-z]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
NAME = st.lists(LABEL, min_size=1, max_size=4).map(".".join)
PORT = st.integers(1, 65535)
V4 = st.ip_addresses(v=4)
V6 = st.ip_addresses(v=6).filter(lambda address: address.ipv4_mapped is None)


@given(name=NAME, sub=LABEL, lead=st.sampled_from(["", ".", "*."]), tail=st.sampled_from(["", "."]), port=PORT)
def test_a_name_covers_itself_and_its_subdomains_and_no_other(
    name: str, sub: str, lead: str, tail: str, port: int
) -> None:
    rules = proxies.read({"no_proxy": f" {lead}{name.upper()}{tail} "}).rules
    assert [rule.applies(host, port) for rule in rules for host in (name, f"{name}.", f"{sub}.{name}")] == [True] * 3
    assert not any(rule.applies(host, port) for rule in rules for host in (f"{sub}{name}", f"{name}{sub}x"))


@given(address=st.one_of(V4, V6), length=st.integers(0, 128), other=st.one_of(V4, V6), brackets=st.booleans())
def test_a_network_covers_what_is_in_it(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
    length: int,
    other: ipaddress.IPv4Address | ipaddress.IPv6Address,
    brackets: bool,
) -> None:
    length = min(length, address.max_prefixlen)
    text = f"[{address}]/{length}" if brackets and address.version == 6 else f"{address}/{length}"
    rules = proxies.read({"no_proxy": f"x.example,{text}"}).rules
    network = ipaddress.ip_network(f"{address}/{length}", strict=False)
    for host in (address, other):
        inside = host.version == network.version and host in network
        assert any(rule.applies(str(host), 443) for rule in rules) == inside


@given(st.text(max_size=60), st.one_of(NAME, V4.map(str), V6.map(str)), PORT)
def test_no_text_is_an_error(text: str, host: str, port: int) -> None:
    assert all(rule.applies(host, port) in (True, False) for rule in proxies.read({"no_proxy": text}).rules)


@pytest.mark.parametrize(
    "value",
    [
        "http://me:s3cr#t@proxy.site:3128",
        "http://me:12/s3cr3t@proxy.site:3128",
        "http://me:s3cr3t@proxy.site:port",
        "http://me:s3cr3t@proxy.site:70000",
        "http://me:s3cr3t@:3128",
        "http://me:s3cr3t@[::1",
        "http://me:s3cr3t@proxy site:3128",
        "ftp://me:s3cr3t@proxy.site",
        "socks4://me:s3cr3t@proxy.site",
        "socks://me:s3cr3t@proxy.site",
    ],
)
def test_a_value_that_is_no_proxy_is_refused_and_not_shown(value: str) -> None:
    found = proxies.read({"https_proxy": value})
    with pytest.raises(RefusedError, match="https_proxy") as refused:
        found.find("https://a.example/")
    assert "s3cr" not in str(refused.value) + repr(found) + found.via("https://a.example/")
    assert found.find("http://a.example/") is None


def test_a_password_is_unquoted_once_and_in_no_text() -> None:
    proxy = typing.cast(
        "proxies.Proxy", proxies.read({"all_proxy": "me%40x:s3c%2Fr%25@proxy.site:1"}).find("http://a/")
    )
    assert (proxy.user, proxy.password, proxy.url) == ("me@x", "s3c/r%", "http://me%40x:s3c%2Fr%25@proxy.site:1")
    assert proxy.login == {"Proxy-Authorization": "Basic bWVAeDpzM2MvciU="}
    assert "s3c" not in repr(proxy) + proxy.via


def test_a_link_local_address_is_not_asked_through_a_proxy() -> None:
    with pytest.raises(RefusedError, match=r"only this host reaches, through the proxy http://proxy\.site:3128; list"):
        proxies.read({"http_proxy": PROXY}).find("http://[fe80::1%25eth0]:8080/")
