# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""One file that is being fetched in segments: what is there, whom to ask next, and whose bytes turned out wrong."""

from __future__ import annotations

import dataclasses
import heapq
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.ask import limit
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.rules import OriginError, RefusedError
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.status import BusyError, ExpiredError
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.transfer.demand import Demand
from ansible_collections.llama_fleet.core.plugins.module_utils.transfer.hash import RunningHash
from ansible_collections.llama_fleet.core.plugins.module_utils.transfer.journal import MISSING, UNKNOWN, PartFile
from ansible_collections.llama_fleet.core.plugins.module_utils.transfer.origin import RemoteFile

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.pool import Pool
    from ansible_collections.llama_fleet.core.plugins.module_utils.transfer.request import Manner, Wanted

_EXPIRIES = 3  # in a row without a byte
_FEW_TRIES = 3  # where another origin can be asked instead
_GOOD = 4  # segments without a complaint before one connection more


class WrongBytesError(OriginError):
    """The first bytes cannot be those of the file. ``problem`` is what the caller's check said of them."""

    def __init__(self, reason: str, problem: ProblemError | None = None) -> None:
        super().__init__(reason)
        self.problem = problem


class Pace:
    """How much one server is asked at once: down to one connection when it complains, slowly up again."""

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
    """A file's origin. ``proven`` is whether it has sent a good range: until then it is asked one thing at a time."""

    def __init__(self, remote: RemoteFile, pace: Pace, number: int) -> None:
        self.remote = remote
        self.pace = pace
        self.number = number
        self.proven = False
        self.probing = False
        self.failures = 0  # in a row, with less than a step in between
        self.step = 0  # bytes since the last of them
        self.round = 0  # requests that ran side by side fail as one
        self.not_before = 0.0
        self.given_up = ""  # why
        self.limit = ""  # the bound that ended the tries
        self.problem: ProblemError | None = None

    def received(self, count: int, manner: Manner) -> None:
        """Count the bytes that have come: a server that sends a few at a time, and fails in between, makes no
        progress that would end.
        """
        self.step += count
        if self.step >= manner.step:
            self.failures, self.step = 0, 0

    def failed(self, error: OriginError, began: int, now: float, manner: Manner, last: bool) -> None:
        """Decide after ``error`` of a request that began in round ``began`` when to ask again, or never."""
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
        told = getattr(error, "after", None) or 0.0
        patient = last and told <= manner.longest_wait
        tries = min(
            manner.tries, _EXPIRIES if isinstance(error, ExpiredError) else manner.tries if patient else _FEW_TRIES
        )
        if self.failures >= tries:
            self.given_up = str(error)
            self.limit = limit(tries, told, manner.longest_wait)


@dataclasses.dataclass
class Segment:
    """Bytes ``begin`` up to ``end``; ``got`` of them are written, and came from ``sources`` (none: an earlier run)."""

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
    """The state of one file. The caller sees to it that only one thread at a time is in here."""

    def __init__(
        self, wanted: Wanted, pool: Pool, paces: dict[tuple[str, str], Pace], manner: Manner, connections: int
    ) -> None:
        self.wanted = wanted
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
        """Take up what an earlier run left; returns its bytes."""
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
        """The first origin that has not been given up."""
        return next((source for source in self.sources if not source.given_up), None)

    def is_last(self, source: Source) -> bool:
        return all(other.given_up for other in self.sources[source.number + 1 :])

    def take(self) -> Segment | None:
        """The next segment that nobody fetches."""
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

    def hashable(self, size: int) -> int:
        """Where the bytes end that are there from where the hash is, ``size`` segments long each; at most one
        segment further.
        """
        upto = self.hash.upto
        if upto >= self.wanted.size:
            return upto
        segment = self.segments[upto // size]
        return segment.begin + segment.got

    def distrust(self, found: str) -> None:
        """All is there and its sha256 is ``found``: discard what came from the likeliest culprit.

        First what an earlier run left and nobody answers for, then the first origin that delivered, all of it.
        The only origin left gets a second chance where an earlier run's bytes were among its own: the disk may have
        spoilt them.
        """
        suspects = [segment for segment in self.segments if not segment.sources]
        if not suspects:
            culprit = self.sources[min(min(segment.sources) for segment in self.segments)]
            suspects = [segment for segment in self.segments if culprit.number in segment.sources]
            if not (self.source is culprit and self.is_last(culprit) and any(segment.earlier for segment in suspects)):
                culprit.given_up = f"wrong bytes (sha256 {found})"
        self.disk.forget([segment.index for segment in suspects])
        for segment in suspects:
            segment.got, segment.done, segment.earlier, segment.sources = 0, False, False, set()
        self.hash = RunningHash()
        self._plan()

    def problem(self, variable: str) -> ProblemError:
        """That no origin delivers, with the reason of each."""
        wanted = f"the {self.wanted.size} bytes of {self.wanted.name} with sha256 {self.wanted.sha256}"
        if not self.sources:
            return ProblemError(Problem(variable, f"nowhere to fetch {self.wanted.name} from", wanted))
        if len(self.sources) == 1 and self.sources[0].problem:
            return self.sources[0].problem
        if len(self.sources) == 1:
            found = f"{self.sources[0].given_up} from {self.sources[0].remote.where}{self.sources[0].limit}"
        else:
            reasons = "; ".join(f"{source.remote.where}: {source.given_up}{source.limit}" for source in self.sources)
            found = f"no origin that delivers it ({reasons})"
        return ProblemError(Problem(variable, found, wanted, _advice(self.sources[-1].given_up)))


def _advice(reason: str) -> str:
    if "status 401" in reason or "status 403" in reason:
        return "check the token and that its account may read this"
    if "status 404" in reason:
        return "check the name and the revision"
    if "sha256" in reason or "a file of" in reason or "instead of" in reason:
        return "correct the source, or do not trust it"
    return "check the address, the network and any proxy of the host, and run again: it goes on where it stopped"
