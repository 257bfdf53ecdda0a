# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The threads that fetch files in segments and hash them on the way."""

from __future__ import annotations

import math
import threading
import time
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.clock import Limits
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.pool import Answer, Pool
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.rules import BrokenError, OriginError, RefusedError
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.status import BusyError, impostor
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.transfer.file import (
    Pace,
    Segment,
    SegmentedFile,
    WrongBytesError,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.transfer.origin import HEAD
from ansible_collections.llama_fleet.core.plugins.module_utils.transfer.schedule import Job, Schedule

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.transfer.request import Manner, Seen, Waits, Wanted

_BUFFER = 1 << 20  # for each connection
_HASHED = 1 << 20  # at a time
_LOOK = 0.1  # seconds between two looks at the progress
_PATIENCE = 5.0  # seconds for threads to end, after that they are left alone


class _StoppedError(Exception):
    """Another thread has failed, or the caller was interrupted."""


class Crew:
    """The threads of one call: some fetch segments, one hashes behind them, and the caller's own tells the progress."""

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
        self._network = [0] * connections  # bytes, for each thread its own

    def run(self) -> tuple[int, int]:
        """Fetch all; returns the bytes that came over the network, and those that were there before."""
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
        """Tell the progress beyond ``most``, and what keeps it, until all is done or something has failed."""
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
        if not any(
            thread.is_alive() for thread in threads
        ):  # else one could still write to what another file has by then
            for file in self._files:
                file.disk.close()

    def _guarded(self, work: typing.Callable[..., None], *given: int) -> None:
        """A thread's work; its error ends the others' too."""
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

    # What the fetching threads do.

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
        """Wait for a segment to fetch; None when there will be none any more."""
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
                    raise BrokenError("all of the file instead of a part, which it had sent before")
                self._receive_whole(job, answer, view, number)
            else:
                self._receive(job, segment, answer, view, number)
        finally:
            answer.close()

    def _receive_whole(self, job: Job, answer: Answer, view: memoryview, number: int) -> None:
        """The origin sends no ranges: take what is missing out of one stream.

        Nobody else asks it, as it is not proven.
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
            raise BrokenError(f"an answer that broke off at byte {position} of {size}")
        self._network[number] += count
        return count

    def _receive(self, job: Job, segment: Segment, answer: Answer, view: memoryview, number: int) -> None:
        """Bring ``segment`` to its end. What has come is kept where the rest does not come."""
        file = job.file
        asked = segment.begin + segment.got
        end = min(segment.end, answer.end)  # some servers send less at a time than they are asked for
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
        """A block has come: others may have become free to ask, too."""
        with self._changed:
            more = job.file.demand.received(job, waited, worked, time.monotonic())
            if more or (proven and not job.source.proven):
                job.source.proven = job.source.proven or proven
                self._changed.notify_all()

    def _keep(self, job: Job, segment: Segment, block: memoryview, position: int) -> None:
        if position == 0:
            if len(block) < min(HEAD, segment.end):  # too little to look at, so too little to keep
                return
            _look(job, bytes(block[:HEAD]))
        if not block:
            return
        with job.file.hash.turn(position) as mine:
            job.file.disk.write(block, position)
            segment.sources.add(job.source.number)
            segment.got += len(block)
            job.source.received(len(block), self._manner)
            if mine:
                job.file.hash.add(block)

    # What the hashing thread does.

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
                        if not (file.finished or file.hash.busy) and (self._hashable(file) or self._ended(file))
                    ),
                    None,
                )
                if file is None:
                    self._changed.wait(_LOOK / 2)
                    continue
            if self._ended(file):
                self._decide(file)
            else:
                self._read_back(file, view)

    def _read_back(self, file: SegmentedFile, view: memoryview) -> None:
        position = file.hash.upto
        with file.hash.turn(position) as mine:
            if not mine:
                return
            count = file.disk.readinto(view[: self._hashable(file)], position)
            if count == 0:
                raise ProblemError(
                    Problem(
                        str(file.wanted.part),
                        "an unfinished file that something else has cut short",
                        "one that only this run changes",
                    )
                )
            file.hash.add(view[:count])

    def _hashable(self, file: SegmentedFile) -> int:
        return file.hashable(self._manner.segment) - file.hash.upto

    def _ended(self, file: SegmentedFile) -> bool:
        return file.hash.upto == file.wanted.size and file.complete

    def _decide(self, file: SegmentedFile) -> None:
        """All of ``file`` is there and hashed: it is right, or an origin was wrong."""
        found = file.hash.hexdigest()
        if found == file.wanted.sha256:
            file.disk.finish()
        with self._changed:
            if found == file.wanted.sha256:
                file.finished = True
            else:
                file.distrust(found)
                if file.source is None:
                    raise file.problem(self._variable)
            self._changed.notify_all()


def _look(job: Job, first: bytes) -> None:
    """Raise where the first bytes cannot be those of the file."""
    what = impostor(first)
    if what:
        raise WrongBytesError(what)
    try:
        job.file.wanted.check(first)
    except ProblemError as error:
        raise WrongBytesError("; ".join(problem.found for problem in error.problems), error) from error
