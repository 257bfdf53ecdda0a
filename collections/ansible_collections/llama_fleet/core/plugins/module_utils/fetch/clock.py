# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Limit how long an HTTP answer may take.

A socket timeout restarts with every byte, so an answer of one byte per second would never end.
"""

from __future__ import annotations

import dataclasses
import http.client
import io
import math
import socket
import time
import typing

_SLACK = 1 << 16  # extra bytes allowed for chunk headers in a body


@dataclasses.dataclass(frozen=True)
class Limits:
    """Time limits for an answer.

    Its headers must be complete within ``seconds``, and so must each next byte arrive. Over that many seconds of
    waiting it must bring at least ``least`` bytes per second. ``total`` bounds a small answer as a whole, in seconds.
    """

    seconds: float = 60.0
    least: int = 1024
    total: float = math.inf


class SlowError(OSError):
    """A limit was reached; the message names it."""


class Clock:
    """The remaining time for the answer that is being read on one connection."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.start()

    def start(self) -> None:
        """Start the clock for a new request."""
        now = time.monotonic()
        self._headers = True
        self._silent = True
        self._until = now + min(self._limits.seconds, self._limits.total)
        self._end = now + self._limits.total
        self._waited = 0.0
        self._came = 0
        self._most = math.inf

    def body(self) -> None:
        """Note that the headers are complete."""
        self._headers = False
        self._waited = 0.0
        self._came = 0

    def expect(self, count: int) -> None:
        """Accept at most ``count`` more bytes (plus slack for chunk headers)."""
        self._most = count + (count >> 4) + _SLACK

    def hurry(self, seconds: float) -> None:
        """Allow at most ``seconds`` for the rest of the answer."""
        self._end = min(self._end, time.monotonic() + seconds)

    def left(self) -> float:
        """Return the seconds that may pass until the next byte. Raises SlowError if none are left."""
        now = time.monotonic()
        left = self._until - now if self._headers else min(self._limits.seconds, self._end - now)
        if left <= 0:
            raise self.over()
        return left

    def came(self, count: int, waited: float) -> None:
        """Note that ``count`` bytes arrived after ``waited`` seconds. Raises SlowError."""
        self._silent = False
        if self._headers:
            return
        self._most -= count
        if self._most < 0:
            raise SlowError("an answer with more bytes than requested")
        self._came += count
        self._waited += waited
        if self._waited >= self._limits.seconds:
            if self._came < self._limits.least * self._waited:
                raise SlowError(f"{self._came} bytes in {self._waited:.2g} s, fewer than {self._limits.least} a second")
            self._waited, self._came = 0.0, 0

    def over(self) -> SlowError:
        """Return the error for a wait that has used up its limit."""
        if self._headers and not self._silent:
            return SlowError(f"incomplete headers after {min(self._limits.seconds, self._limits.total):g} s")
        if not self._headers and time.monotonic() >= self._end:
            return SlowError(f"an incomplete answer after {self._limits.total:g} s")
        return SlowError(f"no byte for {min(self._limits.seconds, self._limits.total):g} s")


class _Timed(io.RawIOBase):
    """The bytes of a connection, read within the limits of ``clock``."""

    def __init__(self, raw: typing.Any, connection: socket.socket, clock: Clock) -> None:
        self._raw = raw
        self._connection = connection
        self._clock = clock

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: typing.Any) -> int:
        began = time.monotonic()
        self._connection.settimeout(self._clock.left())
        try:
            count: int = self._raw.readinto(buffer) or 0
        except socket.timeout:
            raise self._clock.over() from None
        self._clock.came(count, time.monotonic() - began)
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class TimedResponse(http.client.HTTPResponse):
    """An http.client response whose headers, proxy tunnel headers and body are read within a clock's limits."""

    def __init__(
        self,
        clock: Clock,
        connection: socket.socket,
        debuglevel: int = 0,
        method: str | None = None,
        url: str | None = None,
    ) -> None:
        super().__init__(connection, debuglevel, method, url)
        self.fp = io.BufferedReader(_Timed(self.fp.detach(), connection, clock))
