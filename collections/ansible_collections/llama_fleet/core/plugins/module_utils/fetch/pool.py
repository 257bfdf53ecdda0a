# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Persistent HTTP connections that threads share and that can all be ended at once."""

from __future__ import annotations

import base64
import contextlib
import functools
import http.client
import socket
import ssl
import threading
import time
import typing
import urllib.parse
import urllib.request

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch import rules as origins
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.clock import (
    Clock,
    Limits,
    SlowError,
    TimedResponse,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.rules import (
    BrokenError,
    OriginError,
    Place,
    RefusedError,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.untrusted import printable

_CONNECT = 20.0  # seconds, for all addresses of a name together
_DRAINED = 1 << 16  # of an unwanted body: beyond that a new connection is cheaper
_HURRY = 2.0  # seconds, for the same reason
_BLOCK = 1 << 16


class _Line:
    """One connection, straight or through the host's proxy. With ``public`` it is made to public addresses only."""

    def __init__(self, origin: origins.Origin, public: bool, limits: Limits) -> None:
        scheme, netloc = origin
        self.key = (origin, public)
        self.used = False
        self.prefix = ""
        self.headers: dict[str, str] = {}
        self.clock = Clock(limits)
        self._limits = limits
        proxy = _proxy(scheme, netloc)
        login = _proxy_login(proxy)
        self._asks = netloc if proxy and public else ""
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
        # Where http.client calls socket.create_connection: the addresses that are looked at are those that are
        # connected to.
        self.connection._create_connection = self._connected  # type: ignore[attr-defined]  # because typeshed lacks it
        self.socket: socket.socket | None = None

    def open(self) -> None:
        self.clock.start()
        if self.socket is None:
            if (
                self._asks
            ):  # the proxy would be the one that asks there; a name that only the proxy knows is its own to judge
                origins.require_public_name(self._asks)
            self.connection.connect()
            self.socket = self.connection.sock

    def _connected(self, address: tuple[str, int], *_more: object) -> socket.socket:
        """A connection to the first address of a host that takes one."""
        found = origins.resolve(*address)
        if self._public:
            origins.require_public(address[0], found)
        end = time.monotonic() + min(self._limits.seconds, _CONNECT)
        error: OSError = OSError("a name without an address")
        for number, (family, kind, protocol, _name, place) in enumerate(found):
            made = socket.socket(family, kind, protocol)
            try:
                made.settimeout(max(0.1, end - time.monotonic()) / (len(found) - number))
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
        """Make a thread that waits for a byte here see the end of the connection."""
        if self.socket is not None:
            with contextlib.suppress(OSError):
                self.socket.shutdown(2)


class Answer:
    """An answer whose body is read into buffers. ``length`` is None where the server does not tell it.

    ``whole`` is whether it holds all of the file though a part was asked for, and ``end`` where the part ends that it
    holds.
    """

    def __init__(self, pool: Pool, line: _Line, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.length = response.length
        self.whole = False
        self.end = 0
        self._left = response.length
        self._pool = pool
        self._line = line
        self._response = response
        self._closed = False

    def header(self, name: str) -> str:
        return self._response.headers.get(name, "")

    @property
    def left(self) -> int | None:
        """Bytes that are still to come; None where the server does not tell."""
        return self._left

    @property
    def headers(self) -> list[tuple[str, str]]:
        return list(self._response.headers.items())

    def expect(self, count: int) -> None:
        """Take no answer with more than ``count`` bytes still to come, whatever its headers say."""
        self._line.clock.expect(count)

    def body(self, most: int) -> bytes:
        """Return all of the body.

        Raises RefusedError where it has more than ``most`` bytes, BrokenError where it breaks off.
        """
        if (self.length or 0) > most:
            raise RefusedError(f"an answer of {self.length} bytes, and {most} are the most")
        self.expect(most)
        held = bytearray()
        view = memoryview(bytearray(min(_BLOCK, most + 1)))
        while True:
            count = self.readinto(view)
            held += view[:count]
            if len(held) > most:
                raise RefusedError(f"an answer of more than {most} bytes")
            if not count:
                break
        if self._left:
            raise BrokenError(f"an answer that broke off at byte {len(held)} of {self.length}")
        return bytes(held)

    def readinto(self, view: memoryview) -> int:
        """The next bytes, as soon as there are any; 0 at the end. Raises BrokenError."""
        try:
            if self._left is None:
                return self._response.readinto(view)
            # Not the response's own readinto: it waits for a full buffer, and what it has got is lost where the
            # connection breaks.
            count = self._response.fp.readinto1(view[: self._left]) if self._left and view else 0
            self._left -= count
            return count
        except (OSError, ValueError, http.client.HTTPException) as error:  # ValueError: closed by another thread
            raise BrokenError(self._pool.reason(error)) from error

    def start(self, count: int) -> bytes:
        """Up to ``count`` of the next bytes; fewer where the body ends or breaks off."""
        buffer = bytearray(count)
        filled = 0
        with contextlib.suppress(OriginError):
            while filled < count:
                more = self.readinto(memoryview(buffer)[filled:])
                if not more:
                    break
                filled += more
        return bytes(buffer[:filled])

    def close(self) -> None:
        """Give the connection back if nothing more is to come on it, and end it otherwise."""
        if self._closed:
            return
        self._closed = True
        if self._left is not None and 0 < self._left <= _DRAINED and self.status >= 300:
            self._line.clock.hurry(_HURRY)
            self.start(self._left)
        keep = self._left == 0 and not self._response.will_close
        self._response.close()
        self._pool.give_back(self._line, keep)


class Pool:
    """The connections of one call, within ``limits`` for each answer."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._lock = threading.Lock()
        self._idle: list[_Line] = []
        self._busy: set[_Line] = set()
        self._closed = False

    def ask(self, place: Place, headers: typing.Mapping[str, str], method: str = "GET") -> Answer:
        """The answer of a place, given ``headers`` and its secrets, with its body still to come.

        Raises BrokenError or RefusedError.
        """
        origin = origins.origin_of(place.url)
        while True:
            line = self._take(origin, place.public)
            try:
                line.open()
                if self._closed:  # since it was taken, too late to be woken
                    raise OSError("stopped")
                return Answer(self, line, line.request(method, place.url, {**headers, **place.secrets}))
            except (OSError, ValueError, http.client.HTTPException) as error:
                self.give_back(line, keep=False)
                if line.used and not isinstance(error, (SlowError, socket.timeout)) and not self._closed:
                    continue  # it had been closed while it was idle
                kind = RefusedError if isinstance(error, (ValueError, http.client.InvalidURL)) else BrokenError
                raise kind(f"no answer ({self.reason(error, line.socket is not None)})") from error
            except OriginError:
                self.give_back(line, keep=False)
                raise

    def reason(self, error: Exception, connected: bool = True) -> str:
        if connected and isinstance(error, socket.timeout):  # TimeoutError from Python 3.10 on
            return f"no byte for {self._limits.seconds:g} s"
        if isinstance(error, ValueError) and not isinstance(
            error, OSError
        ):  # its text can hold a header, and so a token
            return "an address or a header that HTTP does not allow"
        if isinstance(error, http.client.IncompleteRead):
            return "an answer that broke off"
        if isinstance(error, http.client.HTTPException):
            return printable(f"{type(error).__name__} {error}".strip().splitlines()[0], 200)
        return printable(str(getattr(error, "strerror", None) or error or type(error).__name__).splitlines()[0][:200])

    def _take(self, origin: origins.Origin, public: bool) -> _Line:
        with self._lock:
            if self._closed:
                raise BrokenError("stopped")
            line = next((line for line in reversed(self._idle) if line.key == (origin, public)), None)
            if line is not None:
                self._idle.remove(line)
                line.used = True
            else:
                line = _Line(origin, public, self._limits)
            self._busy.add(line)
            return line

    def give_back(self, line: _Line, keep: bool) -> None:
        with self._lock:
            self._busy.discard(line)
            keep = keep and not self._closed
            if keep:
                self._idle.append(line)
        if not keep:
            line.connection.close()

    def trim(self) -> None:
        """Close what nobody uses: a server that is asked too much counts connections, too."""
        with self._lock:
            idle, self._idle = self._idle, []
        for line in idle:
            line.connection.close()

    def close(self) -> None:
        """End all connections; threads that read from one get BrokenError."""
        with self._lock:
            self._closed = True
            for line in self._busy:
                line.wake()
        self.trim()


def _proxy(scheme: str, netloc: str) -> str:
    """The proxy that the environment sets for an origin; empty where there is none."""
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
