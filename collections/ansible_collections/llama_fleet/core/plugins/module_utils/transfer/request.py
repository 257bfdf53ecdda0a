# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Describe a transfer: the files to fetch, their origins, and its time limits."""

from __future__ import annotations

import dataclasses
import typing

if typing.TYPE_CHECKING:
    import pathlib

SEGMENT = 64 << 20
CONNECTIONS = 4  # at most
Seen = typing.Callable[[int], None]
Waits = typing.Callable[[int, str], None]
Check = typing.Callable[[bytes], None]


@dataclasses.dataclass(frozen=True)
class Origin:
    """One place to fetch a file from.

    ``headers`` are sent only to the origin of ``endpoint``, never to where it redirects. ``endpoint`` is the address
    that the operator named and that named ``url``, if that is not ``url`` itself.
    """

    url: str
    headers: typing.Mapping[str, str] = dataclasses.field(default_factory=dict, repr=False)
    endpoint: str = dataclasses.field(default="", repr=False)


@dataclasses.dataclass(frozen=True)
class Wanted:
    """One file to fetch.

    ``sha256`` (lower-case hex) decides, so the ``origins``, tried in order, need not be trusted. ``part`` is the path
    of the verified file, for the caller to rename. ``check`` gets the first bytes (4 KiB, or all of a shorter first
    segment) and raises ProblemError if they cannot be right.
    """

    name: str
    sha256: str
    size: int
    part: pathlib.Path
    origins: tuple[Origin, ...]
    check: Check = lambda _first: None


@dataclasses.dataclass(frozen=True)
class Manner:
    """Time limits and retries of a transfer; times are in seconds.

    ``tries`` counts failures in a row, with next to no bytes between, at the last origin of a file. Within ``stall``
    the headers of an answer must be complete and the next byte must arrive, and each connection must bring ``least``
    bytes per second.
    """

    segment: int = SEGMENT
    stall: float = 60.0
    least: int = 1024
    longest_wait: float = 300.0
    backoff: float = 0.25
    tries: int = 8

    @property
    def step(self) -> int:
        """Return the bytes that count as progress.

        A source that has sent this many starts with no failures again; a shorter range counts as a failure.
        """
        return max(1, self.segment >> 6)
