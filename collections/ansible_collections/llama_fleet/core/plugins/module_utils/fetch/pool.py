# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Share persistent HTTP connections between threads, and end them all at once."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch import authorities
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.clock import SlowError
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.connection import Connection
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.rules import (
    BrokenError,
    OriginError,
    Place,
    RefusedError,
    origin_of,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.plain_text import printable

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.clock import Limits
    from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.rules import Origin

_DRAINED = 1 << 16  # bytes of an unwanted body to read: beyond that a new connection is cheaper
_HURRY = 2.0  # seconds, for the same reason
_BLOCK = 1 << 16


class Answer:
    """An answer whose body is read into buffers. ``length`` is in bytes, or None if the server does not state it.

    ``whole`` says that it holds the whole file although a part was requested. ``end`` is the offset after its last
    byte.
    """

    def __init__(self, pool: Pool, line: Connection, response: http.client.HTTPResponse) -> None:
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
    def via(self) -> str:
        """Return ``, through the proxy …`` for messages; empty if it came directly."""
        return self._line.via

    @property
    def left(self) -> int | None:
        """Return the bytes still to come, or None if the server does not state it."""
        return self._left

    @property
    def headers(self) -> list[tuple[str, str]]:
        return list(self._response.headers.items())

    def expect(self, count: int) -> None:
        """Accept at most ``count`` more bytes, regardless of the headers."""
        self._line.clock.expect(count)

    def body(self, most: int) -> bytes:
        """Return the whole body.

        Raises RefusedError if it has more than ``most`` bytes, and BrokenError if it is truncated.
        """
        if (self.length or 0) > most:
            raise RefusedError(f"an answer of {self.length} bytes (at most {most} accepted)")
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
            raise BrokenError(f"an answer truncated at byte {len(held)} of {self.length}")
        return bytes(held)

    def readinto(self, view: memoryview) -> int:
        """Read the next bytes as soon as there are any; return their count, 0 at the end. Raises BrokenError."""
        try:
            if self._left is None:
                return self._response.readinto(view)
            # Not the response's own readinto: it waits for a full buffer, and loses its content if the connection
            # breaks.
            count = self._response.fp.readinto1(view[: self._left]) if self._left and view else 0
            self._left -= count
            return count
        except (OSError, ValueError, http.client.HTTPException) as error:  # ValueError: closed by another thread
            broken = BrokenError(self._pool.reason(error))
            broken.via = self.via
            raise broken from error

    def start(self, count: int) -> bytes:
        """Return up to ``count`` of the next bytes; fewer if the body ends or is truncated."""
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
        """Return the connection to the pool if the body has been read, otherwise end it."""
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
    """The connections of one caller, with ``limits`` for each answer."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._lock = threading.Lock()
        self._idle: list[Connection] = []
        self._busy: set[Connection] = set()
        self._closed = False

    def ask(self, place: Place, headers: typing.Mapping[str, str], method: str = "GET") -> Answer:
        """Send a request to a place and return its answer before the body is read.

        Sends ``headers`` and the secrets of the place. Raises BrokenError or RefusedError.
        """
        origin = origin_of(place.url)
        while True:
            line = self._take(origin, place.public)
            try:
                line.open()
                if self._closed:  # meanwhile, too late to be woken
                    raise OSError("stopped")
                return Answer(self, line, line.request(method, place.url, {**headers, **place.secrets}))
            except (OSError, ValueError, http.client.HTTPException) as error:
                self.give_back(line, keep=False)
                if line.used and not isinstance(error, (SlowError, socket.timeout)) and not self._closed:
                    continue  # the server had closed it while it was idle
                kind = RefusedError if isinstance(error, (ValueError, http.client.InvalidURL)) else BrokenError
                silence = kind(f"no answer ({self.reason(error, line.socket is not None)})")
                checked = authorities.checked_against() if isinstance(error, ssl.SSLCertVerificationError) else ""
                silence.via = line.via + checked
                raise silence from error
            except OriginError as error:
                self.give_back(line, keep=False)
                error.via = error.via or line.via
                raise

    def reason(self, error: Exception, connected: bool = True) -> str:
        if connected and isinstance(error, socket.timeout):  # TimeoutError from Python 3.10 on
            return f"no byte for {self._limits.seconds:g} s"
        # The text of a ValueError can contain a header, and so a token.
        if isinstance(error, ValueError) and not isinstance(error, OSError):
            return "an address or a header that HTTP does not allow"
        if isinstance(error, http.client.IncompleteRead):
            return "a truncated answer"
        if isinstance(error, http.client.HTTPException):
            return printable(f"{type(error).__name__} {error}".strip().splitlines()[0], 200)
        return printable(str(getattr(error, "strerror", None) or error or type(error).__name__).splitlines()[0][:200])

    def _take(self, origin: Origin, public: bool) -> Connection:
        with self._lock:
            if self._closed:
                raise BrokenError("stopped")
            line = next((line for line in reversed(self._idle) if line.key == (origin, public)), None)
            if line is not None:
                self._idle.remove(line)
                line.used = True
            else:
                line = Connection(origin, public, self._limits)
            self._busy.add(line)
            return line

    def give_back(self, line: Connection, keep: bool) -> None:
        with self._lock:
            self._busy.discard(line)
            keep = keep and not self._closed
            if keep:
                self._idle.append(line)
        if not keep:
            line.connection.close()

    def trim(self) -> None:
        """Close the idle connections, because an overloaded server counts connections too."""
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
