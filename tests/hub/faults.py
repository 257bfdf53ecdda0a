# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Define what can go wrong between a Hub and its client."""

from __future__ import annotations

import dataclasses
import threading
import time
import uuid

_LOCK = threading.Lock()


@dataclasses.dataclass
class Fault:
    """A fault of a file; ``rate`` is in bytes per second, positions are bytes of the file.

    ``cuts``, ``resets``, ``stalls`` and ``times`` say how often it happens; after that the file is served correctly.
    """

    flip_at: int | None = None
    html: bool = False
    pointer: bool = False  # git's pointer text in place of the file
    rate: int | None = None
    delay: float = 0.0  # seconds before each answer
    cut_at: int | None = None
    cuts: int = 1
    reset_at: int | None = None
    resets: int = 1
    stall_at: int | None = None
    stalls: int = 1
    ranges: bool = True
    most: int = 0  # bytes that a range is shortened to
    size: int | None = None  # the file is truncated or padded to this size
    status: int = (
        0  # sent instead of the file, ``times`` times, at the origin ``where`` ("front", "storage", both if empty)
    )
    times: int = 1
    where: str = ""
    code: str = ""  # X-Error-Code
    message: str = "not now"  # X-Error-Message
    retry_after: str = ""
    together: int = 0  # more answers at the same time are refused
    together_status: int = 429
    uses: int = 0  # requests that a signed location is valid for
    lifetime: float = 0.0  # seconds that it is valid for

    def spend(self, name: str) -> bool:
        """Return whether the fault happens once more, and count it."""
        with _LOCK:
            left = int(getattr(self, name))
            setattr(self, name, max(0, left - 1))
            return left > 0

    def refuses(self, origin: str) -> bool:
        return bool(self.status) and self.where in ("", origin) and self.spend("times")


class Signatures:
    """The signatures of signed locations, each valid for a number of requests or seconds."""

    def __init__(self) -> None:
        self._lives: dict[str, tuple[int, float]] = {}

    def new(self, fault: Fault) -> str:
        """Return a new signature; empty if the location is valid for ever."""
        if not (fault.uses or fault.lifetime):
            return ""
        signature = uuid.uuid4().hex
        with _LOCK:
            self._lives[signature] = (fault.uses or 1 << 62, time.monotonic() + (fault.lifetime or 1e9))
        return signature

    def accepts(self, signature: str) -> bool:
        with _LOCK:
            uses, until = self._lives.get(signature, (0, 0.0))
            self._lives[signature] = (uses - 1, until)
        return uses > 0 and time.monotonic() < until
