# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Run the threads that fetch files in segments and hash them as they arrive."""

from __future__ import annotations

import math
import threading
import time
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.clock import Limits
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.pool import Answer, Pool
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.rules import BrokenError, OriginError, RefusedError
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.status import BusyError
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.transfer.file import (
    Pace,
    Segment,
    SegmentedFile,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.transfer.origin import HEAD
from ansible_collections.llama_fleet.core.plugins.module_utils.transfer.schedule import Job, Schedule

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.transfer.request import Manner, Seen, Waits, Wanted

_BUFFER = 1 << 20  # bytes per connection
_HASHED = 1 << 20  # bytes hashed at a time
_LOOK = 0.1  # seconds between progress reports
_PATIENCE = 5.0  # seconds to wait for threads to end before abandoning them


class _StoppedError(Exception):
    """Another thread has failed, or the caller was interrupted."""


class Workers:
    """The threads of one call: some fetch segments, one hashes the rest, and the calling thread reports progress."""

    def __init__(
        self, files: typing.Sequence[Wanted], variable: str, seen: Seen, waits: Waits, connections: int, manner: Manner
    ) -> None:
        self._variable = variable
        self._seen = seen
        self._waits = waits
        self._connections = connections
        self._manner = manner
        self._pool = Pool(Limits(manner.stall, manner.least))
        paces: dict[tuple[str, str], Pace] = {}
        try:
            self._files = [SegmentedFile(wanted, self._pool, paces, manner, connections) for wanted in files]
        except RefusedError as error:
            raise ProblemError(Problem(variable, str(error), "the address of a file or mirror")) from error
        self._schedule = Schedule(self._files, manner)
        self._changed = threading.Condition()
        self._stopping = False
        self._error: BaseException | None = None
        self._network = [0] * connections  # bytes received by each thread

    def run(self) -> tuple[int, int]:
        """Fetch all files; return the bytes received over the network and the bytes kept from earlier runs."""
        threads: list[threading.Thread] = []
        try:
            waiting = sum(file.open() for file in self._files)
            for file in self._files:
                if file.source is None and not file.complete:
                    raise file.problem(self._variable)
                file.disk.reserve()
            self._seen(waiting)
            threads = [self._thread(f"{number}", self._fetch, number) for number in range(self._connections)]
            threads.append(self._thread("hash", self._hash))
            for thread in threads:
                thread.start()
            self._watch(waiting)
        finally:
            self._stop(threads)
        if self._error:
            raise self._error
        return sum(self._network), waiting

    def _thread(self, name: str, work: typing.Callable[..., None], *given: int) -> threading.Thread:
        return threading.Thread(target=self._guarded, args=(work, *given), name=f"segments-{name}", daemon=True)

    def _watch(self, most: int) -> None:
        """Report progress beyond ``most`` bytes, and waits, until all is done or something has failed."""
        paused = 0.0
        while True:
            with self._changed:
                over = self._error is not None or self._schedule.finished
                if not over:
                    self._changed.wait(_LOOK)
                now = time.monotonic()
                until, host = (0.0, "") if over else self._schedule.pause(now)
            present = sum(file.present for file in self._files)
            if until != paused:
                paused = until
                self._waits(math.ceil(until - now) if until else 0, host)
            if present > most:
                most = present
                self._seen(most)
            if over:
                return

    def _stop(self, threads: typing.Sequence[threading.Thread]) -> None:
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._pool.close()
        until = time.monotonic() + _PATIENCE
        for thread in threads:
            if thread.ident is not None:
                thread.join(max(0.0, until - time.monotonic()))
        # A thread that is still alive could write to a descriptor that is reused for another file.
        if not any(thread.is_alive() for thread in threads):
            for file in self._files:
                file.disk.close()

    def _guarded(self, work: typing.Callable[..., None], *given: int) -> None:
        """Run a thread's work; an error stops the other threads too."""
        try:
            work(*given)
        except _StoppedError:
            pass
        except BaseException as error:  # noqa: BLE001 - kept for the calling thread, which raises it
            with self._changed:
                self._error = self._error or error
                self._stopping = True
                self._changed.notify_all()
            self._pool.close()

    # The fetching threads.

    def _fetch(self, number: int) -> None:
        view = memoryview(bytearray(_BUFFER))
        while True:
            job = self._next()
            if job is None:
                return
            error: OriginError | None = None
            try:
                self._ask(job, view, number)
            except OriginError as caught:
                error = caught
            finally:
                self._over(job, error)

    def _next(self) -> Job | None:
        """Wait for a segment to fetch; return None when there will be no more."""
        with self._changed:
            while not self._stopping and not self._schedule.finished:
                now = time.monotonic()
                job, soonest = self._schedule.next(now)
                if job is not None:
                    return job
                self._changed.wait(soonest - now)
        return None

    def _over(self, job: Job, error: OriginError | None) -> None:
        with self._changed:
            error = None if self._stopping else error
            self._schedule.over(job, error, time.monotonic())
            if isinstance(error, BusyError):
                self._pool.trim()
            if error is not None and job.file.source is None:
                raise job.file.problem(self._variable)
            self._changed.notify_all()

    def _ask(self, job: Job, view: memoryview, number: int) -> None:
        segment = job.segment
        answer = job.source.remote.ask(segment.begin + segment.got, segment.end)
        try:
            if answer.whole:
                if job.source.proven:
                    raise BrokenError("all of the file instead of a part, unlike before")
                self._receive_whole(job, answer, view, number)
            else:
                self._receive(job, segment, answer, view, number)
        finally:
            answer.close()

    def _receive_whole(self, job: Job, answer: Answer, view: memoryview, number: int) -> None:
        """Take the missing segments from one stream, because the origin does not support ranges.

        No other thread asks it, because it is not proven.
        """
        for segment in job.file.segments:
            left = segment.end - segment.begin if segment.done else segment.got
            while left:
                left -= self._read(answer, view[:left], segment.end - left, job.file.wanted.size, number)
            if not segment.done:
                self._receive(job, segment, answer, view, number)

    def _read(self, answer: Answer, view: memoryview, position: int, size: int, number: int) -> int:
        if self._stopping:
            raise _StoppedError
        count = answer.readinto(view)
        if count == 0:
            raise BrokenError(f"an answer truncated at byte {position} of {size}")
        self._network[number] += count
        return count

    def _receive(self, job: Job, segment: Segment, answer: Answer, view: memoryview, number: int) -> None:
        """Fetch the rest of ``segment``; keep the bytes that arrive before an error."""
        file = job.file
        asked = segment.begin + segment.got
        end = min(segment.end, answer.end)  # some servers send less per request than asked for
        few = (
            BrokenError(f"{end - asked} bytes where {segment.end - asked} were asked for")
            if end < segment.end and end - asked < self._manner.step
            else None
        )
        if few and end < HEAD:  # too little to keep
            raise few
        while segment.begin + segment.got < end:
            position = segment.begin + segment.got
            block = view[: end - position]
            filled = 0
            began = here = time.monotonic()
            try:
                while filled < len(block):
                    filled += self._read(answer, block[filled:], position + filled, file.wanted.size, number)
                here = time.monotonic()
            finally:
                self._keep(job, segment, block[:filled], position)
            self._received(job, here - began, time.monotonic() - here, proven=not answer.whole)
        if end < segment.end:
            if few:
                raise few
            return
        job.file.disk.commit(segment.index, segment.letter)
        with self._changed:
            segment.done = True
            self._changed.notify_all()

    def _received(self, job: Job, waited: float, worked: float, proven: bool) -> None:
        """Note the arrival of a block, which may allow other threads to start."""
        with self._changed:
            more = job.file.demand.received(job, waited, worked, time.monotonic())
            if more or (proven and not job.source.proven):
                job.source.proven = job.source.proven or proven
                self._changed.notify_all()

    def _keep(self, job: Job, segment: Segment, block: memoryview, position: int) -> None:
        if position == 0:
            if len(block) < min(HEAD, segment.end):  # too little to check, so too little to keep
                return
            job.file.check_first(bytes(block[:HEAD]))
        if not block:
            return
        with job.file.hash.turn(position) as mine:
            job.file.disk.write(block, position)
            segment.sources.add(job.source.number)
            segment.got += len(block)
            job.source.received(len(block), self._manner)
            if mine:
                job.file.hash.add(block)

    # The hashing thread.

    def _hash(self) -> None:
        view = memoryview(bytearray(_HASHED))
        while True:
            with self._changed:
                if self._stopping or self._schedule.finished:
                    self._changed.notify_all()
                    return
                file = next(
                    (
                        file
                        for file in self._files
                        if not (file.finished or file.hash.busy) and (file.unhashed or file.hashed)
                    ),
                    None,
                )
                if file is None:
                    self._changed.wait(_LOOK / 2)
                    continue
            if file.hashed:
                self._decide(file)
            else:
                file.read_back(view)

    def _decide(self, file: SegmentedFile) -> None:
        """Finish ``file``, which is complete and hashed, or distrust an origin if the SHA-256 is wrong."""
        digest = file.hash.hexdigest()
        if digest == file.wanted.sha256:
            file.disk.finish()
        with self._changed:
            if digest == file.wanted.sha256:
                file.finished = True
            else:
                file.distrust(digest)
                if file.source is None:
                    raise file.problem(self._variable)
            self._changed.notify_all()
