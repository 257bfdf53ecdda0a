# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Decide which segment to fetch next, from which origin, and over how many connections."""

from __future__ import annotations

import dataclasses
import typing

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.rules import OriginError
    from ansible_collections.llama_fleet.core.plugins.module_utils.transfer.file import Segment, SegmentedFile, Source
    from ansible_collections.llama_fleet.core.plugins.module_utils.transfer.request import Manner


@dataclasses.dataclass(eq=False)
class Job:
    """A segment that is being fetched.

    ``probe`` says that it is the only request to its source; ``at`` is the time of the last byte (monotonic seconds).
    """

    file: SegmentedFile
    source: Source
    segment: Segment
    round: int
    probe: bool
    at: float


class Schedule:
    """The jobs of one call. The caller must ensure that only one thread at a time uses it."""

    def __init__(self, files: typing.Sequence[SegmentedFile], manner: Manner) -> None:
        self._files = files
        self._manner = manner

    @property
    def finished(self) -> bool:
        return all(file.finished for file in self._files)

    def next(self, now: float) -> tuple[Job | None, float]:
        """Return the job to start now, or None and the latest time to look again (monotonic seconds)."""
        soonest = now + 3600
        # Fetch shards in parallel: each is hashed by the thread that fetches it, so none must be read back.
        for file in sorted(self._files, key=lambda file: file.demand.active):
            source = None if file.finished or not file.todo else file.source
            if source is None or source.pace.active >= source.pace.allowed or (source.probing and not source.proven):
                continue
            ready = max(source.not_before, source.pace.not_before, file.demand.enough_until(now))
            segment = file.take() if ready <= now else None
            if segment is not None:
                job = Job(file, source, segment, source.round, not source.proven, now)
                source.probing = source.probing or job.probe
                source.pace.active += 1
                file.demand.began(job)
                return job, now
            soonest = min(soonest, ready) if ready > now else soonest
        return None, soonest

    def over(self, job: Job, error: OriginError | None, now: float) -> None:
        """Record the end of ``job`` and its effect on its source."""
        file, source = job.file, job.source
        source.pace.active -= 1
        file.demand.ended(job)
        source.probing = source.probing and not job.probe
        file.put_back(job.segment)
        if error is None:
            source.pace.delivered()
        else:
            source.failed(error, job.round, now, self._manner, file.is_last(source))

    def pause(self, now: float) -> tuple[float, str]:
        """Return until when a server's wait stops all transfers, and its host; 0 if bytes may still come."""
        sources = [
            source for file in self._files if not file.finished and file.todo for source in [file.source] if source
        ]
        if not sources or any(file.demand.active for file in self._files):
            return 0.0, ""
        first = min(sources, key=lambda source: max(source.not_before, source.pace.not_before))
        return (first.pace.not_before, first.remote.host) if first.pace.not_before > now else (0.0, "")
