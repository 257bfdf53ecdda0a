# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""What a transfer is asked for: files, where each can be had, and how to ask."""

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
    """One place where a file can be had. ``headers`` go to the origin of ``endpoint`` alone, never on to where it
    redirects.

    ``endpoint`` is what the operator named and what told of ``url``, if that is not ``url`` itself.
    """

    url: str
    headers: typing.Mapping[str, str] = dataclasses.field(default_factory=dict, repr=False)
    endpoint: str = dataclasses.field(default="", repr=False)


@dataclasses.dataclass(frozen=True)
class Wanted:
    """One file: ``sha256`` (lower-case hex) decides, so the origins, tried in this order, need not be trusted.

    ``part`` is where the verified file is afterwards, for the caller to rename. ``check`` is given the first
    bytes (4 KiB, or all of a shorter first segment) and raises ProblemError where they cannot be right.
    """

    name: str
    sha256: str
    size: int
    part: pathlib.Path
    origins: tuple[Origin, ...]
    check: Check = lambda _first: None


@dataclasses.dataclass(frozen=True)
class Manner:
    """How to ask. Times are seconds; ``tries`` are those in a row with next to nothing in between, at the last origin
    of a file.

    Within ``stall`` the headers of an answer have to be whole, the next byte has to come, and a connection has to bring
    ``least`` bytes a second.
    """

    segment: int = SEGMENT
    stall: float = 60.0
    least: int = 1024
    longest_wait: float = 300.0
    backoff: float = 0.25
    tries: int = 8

    @property
    def step(self) -> int:
        """Bytes that count as progress: a source that has brought as many may fail anew, and a range has to have as
        many if it is not to count as a failure.
        """
        return max(1, self.segment >> 6)
