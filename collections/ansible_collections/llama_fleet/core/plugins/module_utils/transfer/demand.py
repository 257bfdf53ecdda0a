# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Decide how many connections a file is worth."""

from __future__ import annotations

import typing

_PATIENCE = 0.1  # seconds without a byte before one connection is not enough


class Job(typing.Protocol):
    """A segment that is being fetched; ``at`` is the monotonic time in seconds of its last bytes."""

    at: float


class Demand:
    """The number of connections that one file is worth.

    One connection costs the least work; more help only while threads wait for bytes.
    """

    def __init__(self) -> None:
        self._owed = 0.0  # seconds of waiting beyond the seconds of work
        self._thirsty = False
        self._jobs: list[Job] = []

    @property
    def active(self) -> int:
        return len(self._jobs)

    def began(self, job: Job) -> None:
        self._jobs.append(job)

    def ended(self, job: Job) -> None:
        self._jobs.remove(job)

    def received(self, job: Job, waited: float, worked: float, now: float) -> bool:
        """Note the ``waited`` and ``worked`` seconds of a block; return whether more connections help from now on."""
        job.at = now
        was = self._thirsty
        self._owed = min(max(0.0, self._owed + waited - worked), 2 * _PATIENCE)
        self._thirsty = self._owed > (0 if was else _PATIENCE)
        return self._thirsty and not was

    def enough_until(self, now: float) -> float:
        """Return the time (monotonic seconds) from which one more connection would help.

        A hanging connection does not count.
        """
        return now if self._thirsty else max((job.at + _PATIENCE for job in self._jobs), default=now)
