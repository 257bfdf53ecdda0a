# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Which segment is asked for next and of whom, and over how many connections at once."""

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

    ``probe`` is whether it is the only one at its source, ``at`` when bytes last came.
    """

    file: SegmentedFile
    source: Source
    segment: Segment
    round: int
    probe: bool
    at: float


class Schedule:
    """The jobs of one call. The caller sees to it that only one thread at a time is in here."""

    def __init__(self, files: typing.Sequence[SegmentedFile], manner: Manner) -> None:
        self._files = files
        self._manner = manner

    @property
    def finished(self) -> bool:
        return all(file.finished for file in self._files)

    def next(self, now: float) -> tuple[Job | None, float]:
        """What to fetch now; where that is nothing, when to look again at the latest."""
        soonest = now + 3600
        # Shards side by side: each is hashed by the thread that fetches it, so that none is read back.
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
        """``job`` has ended: draw the conclusions for the next one."""
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
        """Until when nothing will come because a server asks for that, and its host; 0 where something may come."""
        sources = [
            source for file in self._files if not file.finished and file.todo for source in [file.source] if source
        ]
        if not sources or any(file.demand.active for file in self._files):
            return 0.0, ""
        first = min(sources, key=lambda source: max(source.not_before, source.pace.not_before))
        return (first.pace.not_before, first.remote.host) if first.pace.not_before > now else (0.0, "")
