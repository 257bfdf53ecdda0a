# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Open one HTTP connection, directly or through the host's proxy, to addresses that are allowed."""

from __future__ import annotations

import base64
import contextlib
import functools
import http.client
import socket
import ssl
import time
import typing
import urllib.parse
import urllib.request

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch import rules
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.clock import Clock, Limits, TimedResponse

_CONNECT = 20.0  # seconds, for all addresses of a name together


class Connection:
    """One HTTP connection, direct or through the host's proxy. With ``public`` it connects only to public addresses."""

    def __init__(self, origin: rules.Origin, public: bool, limits: Limits) -> None:
        scheme, netloc = origin
        self.key = (origin, public)
        self.used = False
        self.prefix = ""
        self.headers: dict[str, str] = {}
        self.clock = Clock(limits)
        self._limits = limits
        proxy = _proxy(scheme, netloc)
        login = _proxy_login(proxy)
        self._proxied_target = netloc if proxy and public else ""
        self._public = public and not proxy
        via = urllib.parse.urlsplit(proxy).netloc.rpartition("@")[2] if proxy else netloc
        if scheme == "https":
            self.connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                via, timeout=limits.seconds, context=_tls()
            )
            if proxy:
                self.connection.set_tunnel(netloc, headers=login)
        else:
            self.connection = http.client.HTTPConnection(via, timeout=limits.seconds)
            if proxy:
                self.prefix, self.headers = f"http://{netloc}", login
        timed = functools.partial(TimedResponse, self.clock)
        self.connection.response_class = timed  # type: ignore[assignment]  # because it is only ever called
        # http.client calls this instead of socket.create_connection, so the checked addresses are those it connects to.
        self.connection._create_connection = self._connected  # type: ignore[attr-defined]  # because typeshed lacks it
        self.socket: socket.socket | None = None

    def open(self) -> None:
        self.clock.start()
        if self.socket is None:
            # Behind a proxy, the proxy makes the connection; it must judge names that only it can resolve.
            if self._proxied_target:
                rules.require_public_name(self._proxied_target)
            self.connection.connect()
            self.socket = self.connection.sock

    def _connected(self, address: tuple[str, int], *_more: object) -> socket.socket:
        """Connect to the first address of a host that accepts a connection."""
        addresses = rules.resolve(*address)
        if self._public:
            rules.require_public(address[0], addresses)
        end = time.monotonic() + min(self._limits.seconds, _CONNECT)
        error: OSError = OSError("a name without an address")
        for number, (family, kind, protocol, _name, place) in enumerate(addresses):
            made = socket.socket(family, kind, protocol)
            try:
                made.settimeout(max(0.1, end - time.monotonic()) / (len(addresses) - number))
                made.connect(place)
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
        self.clock.start()
        self.connection.sock.settimeout(self._limits.seconds)
        self.connection.request(method, self.prefix + path, headers={"Host": parts.netloc, **self.headers, **headers})
        response = self.connection.getresponse()
        self.clock.body()
        return response

    def wake(self) -> None:
        """End the connection for a thread that waits for a byte on it."""
        if self.socket is not None:
            with contextlib.suppress(OSError):
                self.socket.shutdown(2)


def _proxy(scheme: str, netloc: str) -> str:
    """Return the proxy that the environment sets for an origin; empty if none."""
    if urllib.request.proxy_bypass(netloc):
        return ""
    proxy = urllib.request.getproxies().get(scheme, "")
    return proxy if "://" in proxy or not proxy else f"http://{proxy}"


def _proxy_login(proxy: str) -> dict[str, str]:
    login, at, _host = urllib.parse.urlsplit(proxy).netloc.rpartition("@")
    return (
        {"Proxy-Authorization": f"Basic {base64.b64encode(urllib.parse.unquote(login).encode()).decode()}"}
        if at
        else {}
    )


@functools.lru_cache(maxsize=1)
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()
