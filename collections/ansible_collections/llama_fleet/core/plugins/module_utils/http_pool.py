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
import typing
import urllib.parse
import urllib.request

_CONNECT = 20.0  # seconds
_PORTS = {"http": 80, "https": 443}
_DRAINED = 1 << 16  # of an unwanted body: beyond that a new connection is cheaper


class OriginError(Exception):
    """Why an origin did not deliver, as a noun phrase."""


class RefusedError(OriginError):
    """Asking again is of no use."""


class BrokenError(OriginError):
    """It may be better at the next try."""


def origin_of(url: str) -> tuple[str, str]:
    """Scheme, and host with port, the same for all ways to write them. Raises RefusedError where it is no address for HTTP."""
    try:
        parts = urllib.parse.urlsplit(url)
        port = parts.port or _PORTS[parts.scheme]
    except (ValueError, KeyError):
        raise RefusedError("an address that does not begin with http:// or https:// and a host") from None
    host = parts.hostname or ""
    if not host:
        raise RefusedError("an address without a host")
    return parts.scheme, f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class _Line:
    """One connection, straight or through the host's proxy."""

    def __init__(self, origin: tuple[str, str], stall: float) -> None:
        scheme, netloc = origin
        self.origin = origin
        self.used = False
        self.prefix = ""
        self.headers: dict[str, str] = {}
        self._stall = stall
        proxy = _proxy(scheme, netloc)
        login = _proxy_login(proxy)
        via = urllib.parse.urlsplit(proxy).netloc.rpartition("@")[2] if proxy else netloc
        if scheme == "https":
            self.connection: http.client.HTTPConnection = http.client.HTTPSConnection(via, timeout=min(stall, _CONNECT), context=_tls())
            if proxy:
                self.connection.set_tunnel(netloc, headers=login)
        else:
            self.connection = http.client.HTTPConnection(via, timeout=min(stall, _CONNECT))
            if proxy:
                self.prefix, self.headers = f"http://{netloc}", login
        self.socket: socket.socket | None = None

    def open(self) -> None:
        if self.socket is None:
            self.connection.connect()
            self.connection.sock.settimeout(self._stall)
            self.socket = self.connection.sock

    def request(self, url: str, headers: typing.Mapping[str, str]) -> http.client.HTTPResponse:
        parts = urllib.parse.urlsplit(url)
        path = urllib.parse.quote((parts.path or "/") + (f"?{parts.query}" if parts.query else ""), safe="%/:=&?~#+!$,;'@()*[]|")
        self.connection.request("GET", self.prefix + path, headers={"Host": parts.netloc, **self.headers, **headers})
        return self.connection.getresponse()

    def wake(self) -> None:
        """Make a thread that waits for a byte here see the end of the connection."""
        if self.socket is not None:
            with contextlib.suppress(OSError):
                self.socket.shutdown(2)


class Answer:
    """An answer whose body is read into buffers. ``length`` is None where the server does not tell it.

    ``whole`` is whether it holds all of the file though a part was asked for, and ``end`` where the part ends that it holds.
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

    def readinto(self, view: memoryview) -> int:
        """The next bytes, as soon as there are any; 0 at the end. Raises BrokenError."""
        try:
            if self._left is None:
                return self._response.readinto(view)
            # Not the response's own readinto: it waits for a full buffer, and what it has got is lost where the connection breaks.
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
            self.start(self._left)
        keep = self._left == 0 and not self._response.will_close
        self._response.close()
        self._pool.give_back(self._line, keep)


class Pool:
    """The connections of one call. ``stall`` is how many seconds may pass without a byte."""

    def __init__(self, stall: float) -> None:
        self._stall = stall
        self._lock = threading.Lock()
        self._idle: list[_Line] = []
        self._busy: set[_Line] = set()
        self._closed = False

    def ask(self, url: str, headers: typing.Mapping[str, str]) -> Answer:
        """The answer to a GET, with its body still to come. Raises BrokenError or RefusedError."""
        origin = origin_of(url)
        while True:
            line = self._take(origin)
            try:
                line.open()
                if self._closed:  # since it was taken, too late to be woken
                    raise OSError("stopped")
                return Answer(self, line, line.request(url, headers))
            except (OSError, ValueError, http.client.HTTPException) as error:
                self.give_back(line, keep=False)
                if line.used and not isinstance(error, socket.timeout) and not self._closed:
                    continue  # it had been closed while it was idle
                kind = RefusedError if isinstance(error, (ValueError, http.client.InvalidURL)) else BrokenError
                raise kind(f"no answer ({self.reason(error, line.socket is not None)})") from error

    def reason(self, error: Exception, connected: bool = True) -> str:
        if connected and isinstance(error, socket.timeout):  # TimeoutError from Python 3.10 on
            return f"no byte for {self._stall:g} s"
        if isinstance(error, ValueError) and not isinstance(error, OSError):  # its text can hold a header, and so a token
            return "an address or a header that HTTP does not allow"
        return str(getattr(error, "strerror", None) or error or type(error).__name__).splitlines()[0][:200]

    def _take(self, origin: tuple[str, str]) -> _Line:
        with self._lock:
            if self._closed:
                raise BrokenError("stopped")
            line = next((line for line in reversed(self._idle) if line.origin == origin), None)
            if line is not None:
                self._idle.remove(line)
                line.used = True
            else:
                line = _Line(origin, self._stall)
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
    return {"Proxy-Authorization": f"Basic {base64.b64encode(urllib.parse.unquote(login).encode()).decode()}"} if at else {}


@functools.lru_cache(maxsize=1)
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()
