# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Fetch large files over HTTP in parallel segments: resumable, verified, and with fallback origins."""

from __future__ import annotations

import dataclasses
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.transfer import journal
from ansible_collections.llama_fleet.core.plugins.module_utils.transfer.request import (
    CONNECTIONS,
    Manner,
    Seen,
    Waits,
    Wanted,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.transfer.workers import Workers

if typing.TYPE_CHECKING:
    import pathlib


@dataclasses.dataclass(frozen=True)
class Received:
    """Bytes received over the network, and bytes kept from earlier runs."""

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
    """Fetch ``files``; return once each is verified and synced to disk at its ``part``.

    Unfinished bytes are in ``<part>.part``; ``<part>.journal`` lists the good segments, so a kill loses at most the
    segments in flight. ``seen`` gets the bytes present over all files, never decreasing, on the calling thread.
    ``waits`` gets the seconds that a host asks to wait while nothing arrives, and 0 once that is over. ``variable`` is
    the subject of origin problems. The caller holds the lock of the store; a second run on the same ``part`` is still
    refused. Raises ProblemError.
    """
    network, waiting = Workers(files, variable, seen, waits, connections, manner).run()
    return Received(network, waiting)


def waiting_bytes(part: pathlib.Path) -> int:
    """Return the bytes of an unfinished download at ``part`` that the next call keeps."""
    return journal.waiting_bytes(part)
