# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Open one HTTP connection, directly or through the host's proxy, to addresses that are allowed."""

from __future__ import annotations

import contextlib
import functools
import http.client
import socket
import ssl
import time
import typing
import urllib.parse

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch import authorities, proxies, rules, tunnel
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.clock import Clock, Limits, TimedResponse

_CONNECT = 20.0  # seconds, for all addresses of a name together


class Connection:
    """One HTTP connection, direct or through the host's proxy. With ``public`` it connects only to public addresses.

    Raises RefusedError if the environment names a proxy that cannot be used.
    """

    def __init__(self, origin: rules.Origin, public: bool, limits: Limits) -> None:
        self._scheme, self._netloc = origin
        self.key = (origin, public)
        self.used = False
        self.clock = Clock(limits)
        self._limits = limits
        self._proxy = proxies.read().find("://".join(origin))
        self._public = public
        # A proxy of HTTP gets the whole address of a plain request; all else goes through a tunnel.
        self._relayed = bool(self._proxy and self._scheme == "http" and self._proxy.scheme not in proxies.SOCKS)
        self.connection = http.client.HTTPConnection(self._netloc, timeout=limits.seconds)
        self.connection.auto_open = 0  # because only ``open`` knows the way
        self._respond = functools.partial(TimedResponse, self.clock)
        self.connection.response_class = self._respond  # type: ignore[assignment]  # because it is only ever called
        self.socket: socket.socket | None = None

    @property
    def via(self) -> str:
        """Return ``, through the proxy …`` for messages; empty for a direct connection."""
        return self._proxy.via if self._proxy else ""

    def open(self) -> None:
        """Connect, unless it is done. Raises OSError or OriginError."""
        self.clock.start()
        if self.socket is None:
            # Behind a proxy, the proxy makes the connection; it must judge names that only it can resolve.
            if self._proxy and self._public:
                rules.require_public_name(self._netloc)
            self.socket = self.connection.sock = self._opened()

    def _opened(self) -> socket.socket:
        host, port = _address(self._netloc)
        with contextlib.ExitStack() as on_error:
            if self._proxy is None:
                line = self._dial(host, port, self._public)
                on_error.callback(line.close)
            else:
                line = self._dial_proxy(self._proxy, host, port, on_error)
            if self._scheme == "https":
                line = _secured(line, host)
            on_error.pop_all()
            return line

    def _dial_proxy(self, proxy: proxies.Proxy, host: str, port: int, on_error: contextlib.ExitStack) -> socket.socket:
        """Return a connection through the proxy to ``host``, or for a relayed request to the proxy itself."""
        line = self._dial(proxy.host, proxy.port, public=False)
        on_error.callback(line.close)
        if proxy.scheme in proxies.SOCKS:
            tunnel.socks(line, host, port, proxy)
            return line
        if proxy.scheme == "https":
            line = _secured(line, proxy.host)
            on_error.callback(line.close)
        if not self._relayed:
            tunnel.connect(line, self._netloc, proxy, self._respond)
        return (
            tunnel.inner(line, self._limits.seconds) if isinstance(line, ssl.SSLSocket) and not self._relayed else line
        )

    def _dial(self, host: str, port: int, public: bool) -> socket.socket:
        """Connect to the first address of a host that accepts a connection."""
        addresses = rules.resolve(host, port)
        if public:
            rules.require_public(host, addresses)
        end = time.monotonic() + min(self._limits.seconds, _CONNECT)
        error: OSError = OSError("a name without an address")
        for number, (family, kind, protocol, _name, place) in enumerate(addresses):
            made = socket.socket(family, kind, protocol)
            try:
                made.settimeout(max(0.1, end - time.monotonic()) / (len(addresses) - number))
                made.connect(place)
                made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                made.settimeout(self._limits.seconds)
                return made
            except OSError as caught:
                made.close()
                error = caught
        raise error

    def request(self, method: str, url: str, headers: typing.Mapping[str, str]) -> http.client.HTTPResponse:
        parts = urllib.parse.urlsplit(url)
        path = urllib.parse.quote(
            (parts.path or "/") + (f"?{parts.query}" if parts.query else ""), safe="%/:=&?~#+!$,;'@()*[]|"
        )
        shown = {"Host": rules.without_zone(parts.netloc)}
        if self._relayed and self._proxy:
            path, shown = f"http://{self._netloc}{path}", {**shown, **self._proxy.login}
        self.clock.start()
        self.connection.sock.settimeout(self._limits.seconds)
        self.connection.request(method, path, headers={**shown, **headers})
        response = self.connection.getresponse()
        self.clock.body()
        return response

    def wake(self) -> None:
        """End the connection for a thread that waits for a byte on it."""
        if self.socket is not None:
            with contextlib.suppress(OSError):
                self.socket.shutdown(2)


def _address(netloc: str) -> tuple[str, int]:
    """Return the host without brackets and the port of an origin."""
    parts = urllib.parse.urlsplit(f"//{netloc}")
    return parts.hostname or "", parts.port or 0


def _secured(line: socket.socket, host: str) -> ssl.SSLSocket:
    """Return ``line`` with TLS, after checking that its end has a trusted certificate for ``host``. Raises OSError."""
    return authorities.context().wrap_socket(line, server_hostname=host.partition("%")[0])
