# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""One question over HTTP: redirects followed by the rules of ``origins``, asked again after what may pass, and
never without an end.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.clock import Limits
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.pool import Pool
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.rules import (
    OriginError,
    Place,
    RefusedError,
    Road,
    bare,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.status import (
    HOPS,
    REDIRECTS,
    refusal,
    require_unpacked,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.pool import Answer

Result = typing.TypeVar("Result")
Headers = typing.Mapping[str, str]
_AGENT = {"User-Agent": "llama-fleet"}
_LINKED = ("X-Linked-Etag", "X-Linked-Size")
_FEW_TRIES = 3  # where a server asks for a longer wait than there is


@dataclasses.dataclass(frozen=True)
class Patience:
    """How long to wait, in seconds, and how often to try: ``tries`` are those in a row with less than ``step`` bytes in
    between.

    ``seconds`` bound an answer's headers, a silence, and the window over which a least rate is asked for; ``total`` all
    of a small answer.
    """

    seconds: float = 60.0
    total: float = 120.0
    tries: int = 5
    backoff: float = 0.25
    longest_wait: float = 60.0
    step: int = 1 << 20

    @property
    def small(self) -> Limits:
        """For an answer that is read at once."""
        return Limits(min(self.seconds, self.total), total=self.total)

    @property
    def large(self) -> Limits:
        """For a file, which may take as long as its bytes keep coming."""
        return Limits(self.seconds)


USUAL = Patience()


@dataclasses.dataclass(frozen=True)
class Reached:
    """An answer that is no redirect, where it came from, and what the redirects before it said of the file."""

    answer: Answer
    place: Place
    linked: Headers


@dataclasses.dataclass(frozen=True)
class Small:
    """An answer that was read whole; ``url`` is where it came from in the end."""

    url: str
    body: bytes
    header: typing.Callable[[str], str]


@contextlib.contextmanager
def opened(road: Road, place: Place, headers: Headers, limits: Limits) -> typing.Iterator[Reached]:
    """The answer to a GET, whatever its status, with its body still to come. Raises OriginError."""
    pool = Pool(limits)
    with contextlib.ExitStack() as stack:
        stack.callback(pool.close)
        reached = reach(pool, road, place, headers)
        stack.callback(reached.answer.close)
        stack.callback(pool.close)  # before the answer: nobody waits for the rest of it
        yield reached


def reach(pool: Pool, road: Road, place: Place, headers: Headers) -> Reached:
    """Follow redirects from ``place``. Raises OriginError."""
    linked: dict[str, str] = {}
    for _hop in range(HOPS + 1):
        answer = pool.ask(place, {**_AGENT, "Accept-Encoding": "identity", **headers})
        if answer.status not in REDIRECTS:
            linked.update({name: answer.header(name) for name in _LINKED if answer.header(name)})
            return Reached(answer, place, linked)
        linked.update({name: answer.header(name) for name in _LINKED if answer.header(name)})
        target = answer.header("Location")
        answer.close()
        place = road.follow(place, target)
    raise RefusedError(f"more than {HOPS} redirects")


def read(url: str, most: int, headers: Headers | None = None, patience: Patience | None = None) -> Small:
    """Return all of a small file, of at most ``most`` bytes, asked for again after what may pass.

    Raises OriginError, with its ``status``.
    """
    patience = patience or USUAL
    road = Road(url)

    def ask() -> Small:
        with opened(road, road.begin(), headers or {}, patience.small) as reached:
            if reached.answer.status != 200:
                raise refusal(reached.answer, reached.place)
            require_unpacked(reached.answer)
            return Small(reached.place.url, reached.answer.body(most), reached.answer.header)

    return tried(ask, patience)


def tried(ask: typing.Callable[[], Result], patience: Patience, have: typing.Callable[[], int] = lambda: 0) -> Result:
    """Return what ``ask`` returns, asked again after an error that may pass.

    Any ``step`` more bytes of those that ``have`` tells begin the count anew.
    """
    failed = 0
    before = have()
    while True:
        try:
            return ask()
        except RefusedError:
            raise
        except OriginError as error:
            if have() - before >= patience.step:
                failed, before = 0, have()
            failed += 1
            wait = patience.backoff * 2.0 ** (failed - 1)
            told = getattr(error, "after", None)
            too_long = told is not None and told > patience.longest_wait
            if failed >= (min(_FEW_TRIES, patience.tries) if too_long else patience.tries):
                error.limit = limit(failed, told or 0.0, patience.longest_wait)
                raise
        time.sleep(min(wait if told is None else told, patience.longest_wait))


def limit(times: int, told: float, longest: float) -> str:
    """Return what is told of the bound that ended the tries: how many there were, and the wait in seconds that the
    server wanted.
    """
    asks = (
        f", and the server asks for a wait of {told:.0f} s, where {longest:g} s are the longest"
        if told > longest
        else ""
    )
    return f" ({times} times in a row{asks})"


def unreachable(variable: str, url: str, error: OriginError) -> ProblemError:
    """The problem that a request to ``url`` ended with ``error``."""
    text, shown = str(error), _shown(url)
    found = (
        f"no answer from {shown}{text[len('no answer') :]}" if text.startswith("no answer") else f"{text} from {shown}"
    )
    fix = "check the address, the network and any proxy of the host"
    return ProblemError(Problem(variable, found + error.limit, "a file or index that can be read", fix))


def _shown(url: str) -> str:
    try:
        return bare(url)
    except ValueError:
        return "an address that is none"
