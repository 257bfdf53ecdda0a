# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Decide which hosts a request may go to and which secrets it may carry, for every HTTP client of the project.

Only http and https are allowed. A secret is sent only to the origin (scheme, host and port) that it was given for, and
never again once a request has left that origin. A server on a public network may lead only to addresses on a public
network.
"""

from __future__ import annotations

import base64
import dataclasses
import ipaddress
import re
import socket
import typing
import urllib.parse

from ansible_collections.llama_fleet.core.plugins.module_utils.plain_text import printable

PORTS = {"http": 80, "https": 443}
Origin = tuple[str, str]
# One entry of socket.getaddrinfo.
AddressInfo = tuple[int, int, int, str, typing.Any]


class OriginError(Exception):
    """An origin did not deliver; the message is a noun phrase.

    ``status`` is the HTTP status, or 0 without an answer. ``via`` names the proxy of the request and the authorities
    that a certificate was checked against, as in ``, through the proxy http://proxy:3128``. ``limit`` names, in
    brackets, the limit that ended the tries, as in `` (5 times in a row)``.
    """

    status = 0
    via = ""
    limit = ""


class RefusedError(OriginError):
    """A permanent error: retrying is useless."""


class BrokenError(OriginError):
    """A temporary error: the next try may succeed."""


def origin_of(url: str) -> Origin:
    """Return the scheme, and the host with port, of ``url`` in normal form.

    Raises RefusedError if it is not an HTTP address.
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
    """Return ``url`` without the parts that can be secret: user, password, query and fragment."""
    parts = urllib.parse.urlsplit(url)
    return printable(urllib.parse.urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", "")), 1000)


def without_login(url: str) -> tuple[str, dict[str, str]]:
    """Return ``url`` without user and password, and the header that replaces them."""
    parts = urllib.parse.urlsplit(url)
    login, at, host = parts.netloc.rpartition("@")
    if not at:
        return url, {}
    token = base64.b64encode(urllib.parse.unquote(login).encode()).decode()
    return urllib.parse.urlunsplit(parts._replace(netloc=host)), {"Authorization": f"Basic {token}"}


def is_private(address: str) -> bool:
    """Return whether an IP address is not a public one: this machine, this link or a private network."""
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
    """Return the IPv4 address that an IPv6 address leads to: mapped, translated (NAT64) or tunnelled (6to4)."""
    if address in _TRANSLATED:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour


def resolve(host: str, port: int) -> list[AddressInfo]:
    """Return the IPv4 and IPv6 addresses of ``host``. Raises OSError if it has none."""
    name = host.replace("%25", "%") if ":" in host else host  # a URL spells the zone of fe80::1%eth0 so (RFC 6874)
    return [(int(each[0]), int(each[1]), *each[2:]) for each in socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)]


def without_zone(netloc: str) -> str:
    """Return a host with port for the header Host: the zone of a link-local address means nothing to the server."""
    return re.sub(r"%[^\]]*\]", "]", netloc) if netloc.startswith("[") else netloc


def require_public(host: str, addresses: typing.Iterable[AddressInfo]) -> None:
    """Raise RefusedError if one of the ``addresses`` of ``host`` is private."""
    for each in addresses:
        address = str(each[4][0])
        if is_private(address):
            shown = host if host == address else f"{host} ({address})"
            raise RefusedError(f"a link or redirect of a public server to the private address {shown}")


def is_private_name(netloc: str) -> bool:
    """Return whether all addresses of a host with port are private; False for a name that does not resolve."""
    addresses = _known(netloc)
    return bool(addresses) and all(is_private(str(each[4][0])) for each in addresses)


def require_public_name(netloc: str) -> None:
    """Raise RefusedError if a host with port has a private address, as far as this host can resolve it."""
    require_public(netloc, _known(netloc))


def _known(netloc: str) -> list[AddressInfo]:
    parts = urllib.parse.urlsplit(f"//{netloc}")
    try:
        return resolve(parts.hostname or "", parts.port or 0)
    except (OSError, UnicodeError):
        return []


@dataclasses.dataclass(frozen=True)
class Place:
    """A request target: ``secrets`` are the headers it may receive; ``public`` requires a public address.

    ``moved`` says that it is not at the origin that the operator named.
    """

    url: str
    secrets: typing.Mapping[str, str] = dataclasses.field(default_factory=dict, repr=False)
    moved: bool = False
    public: bool = False


class Road:
    """The rules for requests that start at ``endpoint``, which the operator named.

    ``secrets`` are headers for its origin only. Raises RefusedError if ``endpoint`` is not an HTTP address.
    """

    def __init__(self, endpoint: str, secrets: typing.Mapping[str, str] | None = None) -> None:
        self.origin = origin_of(endpoint)
        url, login = without_login(endpoint)
        self._url = url
        self._secrets = {**login, **(secrets or {})}
        self._private: bool | None = None

    def begin(self, url: str = "") -> Place:
        """Return the endpoint as the first place, or ``url``, which an answer of the endpoint named.

        Raises RefusedError.
        """
        return self._place(url, left=False) if url else Place(self._url, self._secrets)

    def follow(self, place: Place, target: str) -> Place:
        """Return the place that the redirect ``target`` of ``place`` leads to. Raises RefusedError."""
        try:
            url = urllib.parse.urljoin(place.url, target)
        except ValueError:
            url = ""
        if not target or not url:
            raise RefusedError("a redirect without a valid target")
        return self._place(url, left=place.moved)

    def _place(self, url: str, left: bool) -> Place:
        """Return the place for ``url``. ``left`` says that the request has already left the first origin.

        Then the secrets are never sent again.
        """
        moved = origin_of(url) != self.origin or left
        url = urllib.parse.urldefrag(without_login(url)[0]).url
        return Place(url, {} if moved else self._secrets, moved, moved and not self.is_private)

    @property
    def is_private(self) -> bool:
        """Return whether the endpoint is on a private network and so may lead to others there.

        Resolved once, when first needed.
        """
        if self._private is None:
            self._private = is_private_name(self.origin[1])
        return self._private
