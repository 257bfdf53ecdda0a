# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Track the state of one file that is being fetched in segments: its bytes, origins and failures."""

from __future__ import annotations

import dataclasses
import heapq
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.ask import limit, remedy
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.rules import OriginError, RefusedError
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.status import BusyError, ExpiredError, impostor
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.transfer.demand import Demand
from ansible_collections.llama_fleet.core.plugins.module_utils.transfer.hash import RunningHash
from ansible_collections.llama_fleet.core.plugins.module_utils.transfer.journal import MISSING, UNKNOWN, PartFile
from ansible_collections.llama_fleet.core.plugins.module_utils.transfer.origin import RemoteFile

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.pool import Pool
    from ansible_collections.llama_fleet.core.plugins.module_utils.transfer.request import Manner, Wanted

_EXPIRIES = 3  # expired locations in a row without a byte
_FEW_TRIES = 3  # if another origin can be asked instead
_GOOD = 4  # segments without a complaint before one more connection


class WrongBytesError(OriginError):
    """The first bytes cannot belong to the file. ``problem`` is the result of the caller's check."""

    def __init__(self, reason: str, problem: ProblemError | None = None) -> None:
        super().__init__(reason)
        self.problem = problem


class Pace:
    """The number of parallel requests to one server: one connection after a complaint, then slowly more."""

    def __init__(self, most: int) -> None:
        self.active = 0
        self.allowed = most
        self.not_before = 0.0
        self._most = most
        self._good = 0

    def complained(self, until: float) -> None:
        self.allowed = 1
        self._good = 0
        self.not_before = max(self.not_before, until)

    def delivered(self) -> None:
        self._good += 1
        if self._good >= _GOOD and self.allowed < self._most:
            self.allowed += 1
            self._good = 0


class Source:
    """One origin of a file. Until it is ``proven`` by a good range, it gets one request at a time."""

    def __init__(self, remote: RemoteFile, pace: Pace, number: int) -> None:
        self.remote = remote
        self.pace = pace
        self.number = number
        self.proven = False
        self.probing = False
        self.failures = 0  # in a row, with less than a step of bytes between
        self.step = 0  # bytes since the last failure
        self.round = 0  # requests that run in parallel fail as one
        self.not_before = 0.0
        self.given_up = ""  # the reason
        self.via = ""  # the proxy of the request that failed last
        self.limit = ""  # the limit that ended the tries
        self.problem: ProblemError | None = None

    def received(self, count: int, manner: Manner) -> None:
        """Count received bytes.

        Only a whole step resets the failures: a server that sends a few bytes between failures would never end.
        """
        self.step += count
        if self.step >= manner.step:
            self.failures, self.step = 0, 0

    def failed(self, error: OriginError, began: int, now: float, manner: Manner, last: bool) -> None:
        """Decide, after ``error`` of a request from round ``began``, when to ask again or to give up."""
        self.via = error.via
        if isinstance(error, (RefusedError, WrongBytesError)):
            self.given_up = self.given_up or str(error)
            self.problem = self.problem or getattr(error, "problem", None)
            return
        if isinstance(error, ExpiredError):
            self.proven = False
        if began == self.round:
            self.round += 1
            self.failures += 1
        wait = min(manner.backoff * 2.0 ** (self.failures - 1), manner.longest_wait)
        if isinstance(error, BusyError):
            self.pace.complained(now + min(error.after if error.after is not None else 2 * wait, manner.longest_wait))
        elif not isinstance(error, ExpiredError) or self.failures > 1:
            self.not_before = max(self.not_before, now + wait)
        server_wait = getattr(error, "after", None) or 0.0
        patient = last and server_wait <= manner.longest_wait
        tries = min(
            manner.tries, _EXPIRIES if isinstance(error, ExpiredError) else manner.tries if patient else _FEW_TRIES
        )
        if self.failures >= tries:
            self.given_up = str(error)
            self.limit = limit(tries, server_wait, manner.longest_wait)


@dataclasses.dataclass
class Segment:
    """Bytes ``begin`` up to ``end``; the first ``got`` are written.

    They came from ``sources``; none means an earlier run.
    """

    index: int
    begin: int
    end: int
    got: int = 0
    sources: set[int] = dataclasses.field(default_factory=set)
    done: bool = False
    earlier: bool = False  # from an earlier run

    @property
    def letter(self) -> str:
        return PartFile.letter(next(iter(self.sources))) if len(self.sources) == 1 else UNKNOWN


class SegmentedFile:
    """The state of one file. The caller must ensure that only one thread at a time uses it.

    Except ``check_first`` and ``read_back``, which only touch the disk and the running hash.
    """

    def __init__(
        self, wanted: Wanted, pool: Pool, paces: dict[tuple[str, str], Pace], manner: Manner, connections: int
    ) -> None:
        self.wanted = wanted
        self._segment_size = manner.segment
        self.sources: list[Source] = []
        for number, origin in enumerate(wanted.origins):
            remote = RemoteFile(pool, origin, wanted.size, wanted.sha256)
            self.sources.append(Source(remote, paces.setdefault(remote.origin, Pace(connections)), number))
        self.disk = PartFile(
            wanted.part, wanted.size, manner.segment, wanted.sha256, [source.remote.where for source in self.sources]
        )
        starts = range(0, wanted.size, manner.segment)
        self.segments = [
            Segment(index, begin, min(begin + manner.segment, wanted.size)) for index, begin in enumerate(starts)
        ]
        self.todo: list[int] = []
        self.hash = RunningHash()
        self.demand = Demand()
        self.finished = False

    def open(self) -> int:
        """Resume the work of an earlier run; return the bytes it left."""
        self.disk.open()
        for segment, letter in zip(self.segments, self.disk.letters()):
            if letter != MISSING:
                segment.done = segment.earlier = True
                segment.got = segment.end - segment.begin
                segment.sources = {
                    number for number in range(len(self.sources)) if PartFile.letter(number) == letter != UNKNOWN
                }
        self._plan()
        return self.present

    def _plan(self) -> None:
        self.todo = [segment.index for segment in self.segments if not segment.done]

    @property
    def present(self) -> int:
        return sum(segment.got for segment in self.segments)

    @property
    def source(self) -> Source | None:
        """Return the first origin that has not been given up."""
        return next((source for source in self.sources if not source.given_up), None)

    def is_last(self, source: Source) -> bool:
        return all(other.given_up for other in self.sources[source.number + 1 :])

    def take(self) -> Segment | None:
        """Return the next segment that no thread is fetching."""
        while self.todo:
            segment = self.segments[heapq.heappop(self.todo)]
            if not segment.done:
                return segment
        return None

    def put_back(self, segment: Segment) -> None:
        if not segment.done:
            heapq.heappush(self.todo, segment.index)

    @property
    def complete(self) -> bool:
        return all(segment.done for segment in self.segments)

    @property
    def hashed(self) -> bool:
        """Return whether all bytes are present and hashed."""
        return self.hash.upto == self.wanted.size and self.complete

    @property
    def unhashed(self) -> int:
        """Return the number of contiguous bytes that can be hashed next, at most to the end of their segment."""
        upto = self.hash.upto
        if upto >= self.wanted.size:
            return 0
        segment = self.segments[upto // self._segment_size]
        return segment.begin + segment.got - upto

    def read_back(self, view: memoryview) -> None:
        """Hash the next bytes from the disk, unless a thread is adding them. Raises ProblemError."""
        position = self.hash.upto
        with self.hash.turn(position) as mine:
            if not mine:
                return
            count = self.disk.readinto(view[: self.unhashed], position)
            if count == 0:
                truncated = "an unfinished file that another process has truncated"
                raise ProblemError(Problem(str(self.wanted.part), truncated, "one that only this run changes"))
            self.hash.add(view[:count])

    def check_first(self, first: bytes) -> None:
        """Raise WrongBytesError if the ``first`` bytes cannot belong to the file."""
        what = impostor(first)
        if what:
            raise WrongBytesError(what)
        try:
            self.wanted.check(first)
        except ProblemError as error:
            raise WrongBytesError("; ".join(problem.found for problem in error.problems), error) from error

    def distrust(self, digest: str) -> None:
        """Discard the bytes of the likeliest culprit, because the whole file has the wrong SHA-256 ``digest``.

        First the bytes that an earlier run left and that have no known origin, then all bytes of the first origin that
        delivered. The only remaining origin gets a second chance if some of its bytes came from an earlier run, because
        the disk may have damaged them.
        """
        suspects = [segment for segment in self.segments if not segment.sources]
        if not suspects:
            culprit = self.sources[min(min(segment.sources) for segment in self.segments)]
            suspects = [segment for segment in self.segments if culprit.number in segment.sources]
            if not (self.source is culprit and self.is_last(culprit) and any(segment.earlier for segment in suspects)):
                culprit.given_up = f"wrong bytes (sha256 {digest})"
        self.disk.forget([segment.index for segment in suspects])
        for segment in suspects:
            segment.got, segment.done, segment.earlier, segment.sources = 0, False, False, set()
        self.hash = RunningHash()
        self._plan()

    def problem(self, variable: str) -> ProblemError:
        """Return the problem that no origin delivers, with the reason of each."""
        wanted = f"the {self.wanted.size} bytes of {self.wanted.name} with sha256 {self.wanted.sha256}"
        if not self.sources:
            return ProblemError(Problem(variable, f"no origin to fetch {self.wanted.name} from", wanted))
        if len(self.sources) == 1 and self.sources[0].problem:
            return self.sources[0].problem
        if len(self.sources) == 1:
            only = self.sources[0]
            failure = f"{only.given_up} from {only.remote.where}{only.via}{only.limit}"
        else:
            reasons = "; ".join(
                f"{source.remote.where}: {source.given_up}{source.via}{source.limit}" for source in self.sources
            )
            failure = f"no origin that delivers it ({reasons})"
        return ProblemError(Problem(variable, failure, wanted, _advice(self.sources[-1].given_up)))


def _advice(reason: str) -> str:
    if "status 401" in reason or "status 403" in reason:
        return "check the token and that its account may read this"
    if "status 404" in reason:
        return "check the name and the revision"
    if "sha256" in reason or "a file of" in reason or "instead of" in reason:
        return "correct the source, or do not trust it"
    return f"{remedy(reason)}, and run again; the download resumes where it stopped"
