# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Large files over HTTP in parallel segments: resumed, verified, and from the first of several origins that
delivers.
"""

from __future__ import annotations

import dataclasses
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.transfer import journal as segment_journal
from ansible_collections.llama_fleet.core.plugins.module_utils.transfer.request import (
    CONNECTIONS,
    Manner,
    Seen,
    Waits,
    Wanted,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.transfer.workers import Crew

if typing.TYPE_CHECKING:
    import pathlib


@dataclasses.dataclass(frozen=True)
class Received:
    """What a call brought: bytes over the network, and bytes that were already there and were kept."""

    network_bytes: int
    waiting: int


_USUAL = Manner()


def fetch_all(
    files: typing.Sequence[Wanted],
    variable: str,
    seen: Seen = lambda _count: None,
    connections: int = CONNECTIONS,
    manner: Manner = _USUAL,
    waits: Waits = lambda _seconds, _host: None,
) -> Received:
    """Fetch all of ``files``; returns once each lies verified and safe from a power cut at its ``part``.

    Unfinished bytes are in ``<part>.part``, and ``<part>.journal`` tells which of them are good, so that a kill
    costs at most the segments in flight. ``seen`` is told the bytes present over all files, never fewer than
    before, from the calling thread, and ``waits`` how many seconds nothing will come because a host asks for that, and
    0 once that is over. ``variable`` is the subject of problems with an origin.
    The caller holds the lock of the store. A second run on the same ``part`` all the same is refused, so it spoils
    nothing.
    """
    network, waiting = Crew(files, variable, seen, waits, connections, manner).run()
    return Received(network, waiting)


def waiting_bytes(part: pathlib.Path) -> int:
    """The bytes of an unfinished download at ``part`` that a next call keeps."""
    return segment_journal.waiting_bytes(part)
