# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Read the proxies that the environment names, and decide which one a request uses.

``http_proxy``, ``https_proxy``, ``all_proxy`` and ``no_proxy`` count in lower and upper case; lower case takes
precedence. ``no_proxy`` is read as curl and Go read it: names with their subdomains, addresses, networks (CIDR), ports
and ``*``. A name is never resolved for that.
"""

from __future__ import annotations

import base64
import dataclasses
import ipaddress
import os
import re
import typing
import urllib.parse

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.rules import RefusedError, origin_of
from ansible_collections.llama_fleet.core.plugins.module_utils.plain_text import printable

VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
SOCKS = ("socks5", "socks5h")
_PORTS = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}
_PORT = re.compile(r"(?:\[(?P<bracketed>[^\[\]]+)\]|(?P<host>[^:\[\]]+)):(?P<port>[0-9]{1,5})")
_HOST = re.compile(r"[^\s/@\\\[\]]{1,255}")
Environment = typing.Mapping[str, str]
Address = typing.Union[ipaddress.IPv4Address, ipaddress.IPv6Address]
Network = typing.Union[ipaddress.IPv4Network, ipaddress.IPv6Network]


@dataclasses.dataclass(frozen=True)
class Proxy:
    """A proxy of the kind ``scheme``: http, https (TLS to the proxy), socks5, or socks5h (the proxy resolves names)."""

    scheme: str
    host: str
    port: int
    user: str = dataclasses.field(default="", repr=False)
    password: str = dataclasses.field(default="", repr=False)

    @property
    def via(self) -> str:
        """Return ``, through the proxy …`` for messages, without user and password."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return printable(f", through the proxy {self.scheme}://{host}:{self.port}", 300)

    @property
    def login(self) -> dict[str, str]:
        """Return the header with the user and password; empty if there is no user."""
        token = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        return {"Proxy-Authorization": f"Basic {token}"} if self.user else {}

    @property
    def url(self) -> str:
        """Return the proxy's address with user and password, for the environment of a child process."""
        login = ":".join(urllib.parse.quote(part, safe="") for part in (self.user, self.password))
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{f'{login}@' if self.user else ''}{host}:{self.port}"


@dataclasses.dataclass(frozen=True)
class Rule:
    """An entry of no_proxy: a ``name`` with its subdomains, or a ``network``; ``port`` is 0 for all ports.

    ``written`` is the entry for the environment of a child process.
    """

    written: str
    name: str = ""
    network: Network | None = None
    port: int = 0

    def applies(self, host: str, port: int) -> bool:
        """Return whether requests to ``host`` (a name, or an address without brackets) use no proxy."""
        if self.written == "*":
            return True
        if self.port not in (0, port):
            return False
        address = _address(host)
        if address is not None:
            return self.network is not None and address.version == self.network.version and address in self.network
        name = host.rstrip(".").lower()
        return bool(self.name) and (name == self.name or name.endswith(f".{self.name}"))


@dataclasses.dataclass(frozen=True)
class Proxies:
    """The proxies of an environment: ``settings`` has a variable and its value for each of http and https."""

    settings: typing.Mapping[str, tuple[str, str]] = dataclasses.field(repr=False)
    rules: tuple[Rule, ...]

    def find(self, url: str) -> Proxy | None:
        """Return the proxy for ``url``, or None if it is reached directly.

        Raises RefusedError if the variable names no proxy that can be used.
        """
        scheme, netloc = origin_of(url)
        variable, value = self.settings[scheme]
        parts = urllib.parse.urlsplit(f"//{netloc}")
        host, port = parts.hostname or "", parts.port or 0
        if not value or any(rule.applies(host, port) for rule in self.rules):
            return None
        proxy = parse(variable, value)
        if "%" in host:
            raise RefusedError(f"a link-local address, which only this host reaches{proxy.via}; list it in no_proxy")
        return proxy

    def via(self, url: str) -> str:
        """Return ``, through the proxy …`` if ``url`` has one that can be used, else an empty string."""
        try:
            proxy = self.find(url)
        except RefusedError:
            return ""
        return proxy.via if proxy else ""


def read(environment: Environment | None = None) -> Proxies:
    """Return the proxies that ``environment``, or else this process's own, names.

    Values are checked when a request needs them.
    """
    environment = os.environ if environment is None else environment
    default = _setting(environment, "all_proxy")
    settings = {}
    for scheme in ("http", "https"):
        variable, value = _setting(environment, f"{scheme}_proxy")
        settings[scheme] = (variable, value) if variable else default
    direct = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    rules = (_rule(entry) for entry in re.split(r"[,\s]+", direct.lower()))
    return Proxies(settings, tuple(rule for rule in rules if rule))


def parse(variable: str, value: str) -> Proxy:
    """Return the proxy that ``variable`` names.

    Raises RefusedError without the value, which may contain a password.
    """
    try:
        parts = urllib.parse.urlsplit(value if "://" in value else f"http://{value}")
        host, port = urllib.parse.unquote(parts.hostname or ""), parts.port
    except ValueError:
        raise _unusable(variable) from None
    if parts.scheme.startswith("socks") and parts.scheme not in SOCKS:
        raise RefusedError(f"a proxy of the kind {parts.scheme} in {variable}, expected socks5, socks5h, http or https")
    if parts.scheme not in _PORTS or not _HOST.fullmatch(host):
        raise _unusable(variable)
    if parts.path not in ("", "/") or parts.query or parts.fragment:  # for example a password with a "/"
        raise _unusable(variable)
    user, password = (urllib.parse.unquote(text or "") for text in (parts.username, parts.password))
    return Proxy(parts.scheme, host, port or _PORTS[parts.scheme], user, password)


def _unusable(variable: str) -> RefusedError:
    shape = "http://user:password@host:port, with special characters as %XX"
    return RefusedError(f"a value of {variable} that is not the address of a proxy ({shape})")


def _setting(environment: Environment, name: str) -> tuple[str, str]:
    """Return the variable that sets ``name`` and its value; an empty value in lower case switches the proxy off."""
    upper = name.upper()
    if name in environment:
        return name, environment[name].strip()
    # In a CGI program HTTP_PROXY is a header of the request.
    if upper == "HTTP_PROXY" and "REQUEST_METHOD" in environment:
        return "", ""
    value = environment.get(upper, "").strip()
    return (upper, value) if value else ("", "")


def _rule(entry: str) -> Rule | None:
    """Return the rule for an entry of no_proxy, or None for an empty one."""
    if entry == "*":
        return Rule("*")
    match = _PORT.fullmatch(entry)
    port = int(match["port"]) if match else 0
    text = (match["bracketed"] or match["host"]) if match else entry.replace("[", "").replace("]", "")
    network = _network(text)
    if network is not None:
        return Rule(entry, network=network, port=port)
    name = text.removeprefix("*").strip(".")
    return Rule(entry.removeprefix("*"), name=name, port=port) if name else None


def _network(text: str) -> Network | None:
    address, slash, length = text.partition("/")
    try:
        network = ipaddress.ip_network(address.partition("%")[0] + slash + length, strict=False)
    except ValueError:
        return None
    mapped = network.network_address.ipv4_mapped if isinstance(network, ipaddress.IPv6Network) else None
    if mapped is not None and network.prefixlen >= 96:
        return ipaddress.ip_network(f"{mapped}/{network.prefixlen - 96}")
    return network


def _address(host: str) -> Address | None:
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
