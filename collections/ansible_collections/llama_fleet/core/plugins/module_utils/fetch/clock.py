# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""How long an answer may take:

Python's own limit counts anew with every byte, so an answer of a byte a second never ends.
"""

from __future__ import annotations

import dataclasses
import http.client
import io
import math
import socket
import time
import typing

_SLACK = 1 << 16  # bytes of a body beyond those of what it holds: the sizes of its chunks


@dataclasses.dataclass(frozen=True)
class Limits:
    """Within ``seconds`` the headers of an answer have to be whole, and the next byte of it has to come.

    Over as many seconds of waiting it has to bring ``least`` bytes a second; ``total`` are the seconds for all of a
    small answer.
    """

    seconds: float = 60.0
    least: int = 1024
    total: float = math.inf


class SlowError(OSError):
    """A limit was reached; the message says which."""


class Clock:
    """What is left of the limits for the answer that is being read on one connection."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.start()

    def start(self) -> None:
        """A request is about to be sent."""
        now = time.monotonic()
        self._headers = True
        self._silent = True
        self._until = now + min(self._limits.seconds, self._limits.total)
        self._end = now + self._limits.total
        self._waited = 0.0
        self._came = 0
        self._most = math.inf

    def body(self) -> None:
        """The headers are whole."""
        self._headers = False
        self._waited = 0.0
        self._came = 0

    def expect(self, count: int) -> None:
        """A body that holds more than ``count`` bytes, on top of what has come, is none that was asked for."""
        self._most = count + (count >> 4) + _SLACK

    def hurry(self, seconds: float) -> None:
        """What is still to come is not worth more than ``seconds``."""
        self._end = min(self._end, time.monotonic() + seconds)

    def left(self) -> float:
        """Return the seconds that may pass until the next byte. Raises SlowError where there are none."""
        now = time.monotonic()
        left = self._until - now if self._headers else min(self._limits.seconds, self._end - now)
        if left <= 0:
            raise self.over()
        return left

    def came(self, count: int, waited: float) -> None:
        """Note that ``count`` bytes have come after ``waited`` seconds. Raises SlowError."""
        self._silent = False
        if self._headers:
            return
        self._most -= count
        if self._most < 0:
            raise SlowError("an answer with more bytes than were asked for")
        self._came += count
        self._waited += waited
        if self._waited >= self._limits.seconds:
            if self._came < self._limits.least * self._waited:
                raise SlowError(
                    f"{self._came} bytes in {self._waited:.2g} s, and {self._limits.least} a second are the least"
                )
            self._waited, self._came = 0.0, 0

    def over(self) -> SlowError:
        """The error that a wait has come to its end."""
        if self._headers and not self._silent:
            return SlowError(f"headers that were not whole after {min(self._limits.seconds, self._limits.total):g} s")
        if not self._headers and time.monotonic() >= self._end:
            return SlowError(f"an answer that was not whole after {self._limits.total:g} s")
        return SlowError(f"no byte for {min(self._limits.seconds, self._limits.total):g} s")


class _Timed(io.RawIOBase):
    """The bytes of a connection, as long as ``clock`` allows."""

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
    """http.client's answer, read by a clock: its headers, those of a proxy's tunnel, and its body."""

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
