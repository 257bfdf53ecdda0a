# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Decide whom a request may go to and which secrets it may carry: the one place, for every client that asks another
host.

Only http and https. A secret goes to the origin (scheme, host and port) that it was given for, and is not taken up
again once a request has left that origin. An address that a server on a public network tells must be on a public
network, too.
"""

from __future__ import annotations

import base64
import dataclasses
import ipaddress
import socket
import typing
import urllib.parse

from ansible_collections.llama_fleet.core.plugins.module_utils.untrusted import printable

PORTS = {"http": 80, "https": 443}
Origin = tuple[str, str]
# What socket.getaddrinfo returns of each address.
Found = tuple[int, int, int, str, typing.Any]


class OriginError(Exception):
    """Why an origin did not deliver, as a noun phrase. ``status`` is that of its answer, 0 where there was none.

    ``limit`` tells in brackets the bound that ended the tries, as in `` (5 times in a row)``.
    """

    status = 0
    limit = ""


class RefusedError(OriginError):
    """Asking again is of no use."""


class BrokenError(OriginError):
    """It may be better at the next try."""


def origin_of(url: str) -> Origin:
    """Return scheme, and host with port, the same for all ways to write them.

    Raises RefusedError where it is no address for HTTP.
    """
    try:
        parts = urllib.parse.urlsplit(url)
        port = parts.port or PORTS[parts.scheme]
    except (ValueError, KeyError):
        raise RefusedError("an address that does not begin with http:// or https:// and a host") from None
    host = parts.hostname or ""
    if parts.scheme not in PORTS:
        raise RefusedError("an address that does not begin with http:// or https://")
    if not host:
        raise RefusedError("an address without a host")
    return parts.scheme, f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def bare(url: str) -> str:
    """``url`` as it may be shown: user, password, query and fragment can be secrets."""
    parts = urllib.parse.urlsplit(url)
    return printable(urllib.parse.urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", "")), 1000)


def without_login(url: str) -> tuple[str, dict[str, str]]:
    """Return ``url`` without a user and password, and the header that takes their place."""
    parts = urllib.parse.urlsplit(url)
    login, at, host = parts.netloc.rpartition("@")
    if not at:
        return url, {}
    token = base64.b64encode(urllib.parse.unquote(login).encode()).decode()
    return urllib.parse.urlunsplit(parts._replace(netloc=host)), {"Authorization": f"Basic {token}"}


def is_private(address: str) -> bool:
    """Tell whether an IP address is one of this machine, this link or a private network: anything but a public
    host's.
    """
    given = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(given, ipaddress.IPv6Address):
        inner = _inner(given)
        if inner is not None:
            return is_private(str(inner))
        if given.is_site_local:
            return True
    return not given.is_global or given.is_multicast


_TRANSLATED = ipaddress.ip_network("64:ff9b::/96")


def _inner(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that an IPv6 address leads to: mapped, translated (NAT64) or tunnelled (6to4)."""
    if address in _TRANSLATED:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour


def resolve(host: str, port: int) -> list[Found]:
    """Return the addresses of ``host``, of both families. Raises OSError where it has none."""
    return [(int(each[0]), int(each[1]), *each[2:]) for each in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def require_public(host: str, found: typing.Iterable[Found]) -> None:
    """Raise RefusedError where one of the addresses ``found`` for ``host`` is private."""
    for each in found:
        address = str(each[4][0])
        if is_private(address):
            shown = host if host == address else f"{host} ({address})"
            raise RefusedError(f"a link or redirect of a public server to the private address {shown}")


def is_private_name(netloc: str) -> bool:
    """Tell whether all addresses of a host with port are private; those of a name that this host cannot resolve are
    not.
    """
    found = _known(netloc)
    return bool(found) and all(is_private(str(each[4][0])) for each in found)


def require_public_name(netloc: str) -> None:
    """Raise RefusedError where a host with port has a private address, as far as this host can resolve it."""
    require_public(netloc, _known(netloc))


def _known(netloc: str) -> list[Found]:
    parts = urllib.parse.urlsplit(f"//{netloc}")
    try:
        return resolve(parts.hostname or "", parts.port or 0)
    except (OSError, UnicodeError):
        return []


@dataclasses.dataclass(frozen=True)
class Place:
    """Somewhere to ask: ``secrets`` are the headers it may be given, and ``public`` says that it must have a public
    address.

    ``moved`` is whether it is not of the origin that the operator named.
    """

    url: str
    secrets: typing.Mapping[str, str] = dataclasses.field(default_factory=dict, repr=False)
    moved: bool = False
    public: bool = False


class Road:
    """Where requests may go that begin at ``endpoint``, which the operator named; ``secrets`` are headers for its
    origin alone.

    Raises RefusedError where ``endpoint`` is no address for HTTP.
    """

    def __init__(self, endpoint: str, secrets: typing.Mapping[str, str] | None = None) -> None:
        self.origin = origin_of(endpoint)
        url, login = without_login(endpoint)
        self._url = url
        self._secrets = {**login, **(secrets or {})}
        self._private: bool | None = None

    def begin(self, url: str = "") -> Place:
        """Return the endpoint as the first place, or ``url``, which an answer of the endpoint has told.

        Raises RefusedError.
        """
        return self._place(url, left=False) if url else Place(self._url, self._secrets)

    def follow(self, place: Place, target: str) -> Place:
        """Return where the redirect ``target`` of ``place`` leads. Raises RefusedError."""
        try:
            url = urllib.parse.urljoin(place.url, target)
        except ValueError:
            url = ""
        if not target or not url:
            raise RefusedError("a redirect to nowhere")
        return self._place(url, left=place.moved)

    def _place(self, url: str, left: bool) -> Place:
        """``left`` is whether the way has led away from the first origin already: then its secrets stay behind for
        good.
        """
        moved = origin_of(url) != self.origin or left
        url = urllib.parse.urldefrag(without_login(url)[0]).url
        return Place(url, {} if moved else self._secrets, moved, moved and not self.is_private)

    @property
    def is_private(self) -> bool:
        """Whether the endpoint itself is on a private network, which may lead to others there.

        Asked for once, when it first matters.
        """
        if self._private is None:
            self._private = is_private_name(self.origin[1])
        return self._private
