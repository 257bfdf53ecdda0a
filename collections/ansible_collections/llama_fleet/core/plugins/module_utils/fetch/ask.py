# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Send a GET request: follow redirects by the rules in ``rules``, retry temporary errors, and always end."""

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
REACH = "check the address, the network and any proxy of the host"
_REMEDIES = {
    "CERTIFICATE_VERIFY_FAILED": "install the certificate of the authority that the network uses "
    "(update-ca-certificates), or name it in SSL_CERT_FILE, or set the clock",
    "WRONG_VERSION_NUMBER": "write http:// instead of https:// if the proxy or server speaks no TLS on that port",
    "is not the address of a proxy": "correct the variable in the environment of the host",
    "a proxy of the kind": "write socks5h:// for a SOCKS5 proxy",
    "HTTP status 407": "give the user and password in the proxy's address: http://user:password@host:port",
    "SOCKS5 proxy wants a user": "give the user and password in the proxy's address: socks5h://user:password@host:port",
}
_FEW_TRIES = 3  # if a server asks for a longer wait than allowed


@dataclasses.dataclass(frozen=True)
class Patience:
    """Time limits in seconds and the number of tries.

    ``seconds`` bounds an answer's headers, a silence, and the window in which a minimum rate must be reached; ``total``
    bounds a small answer as a whole. ``tries`` counts failures in a row; ``step`` bytes of progress reset the count.
    """

    seconds: float = 60.0
    total: float = 120.0
    tries: int = 5
    backoff: float = 0.25
    longest_wait: float = 60.0
    step: int = 1 << 20

    @property
    def small(self) -> Limits:
        """Return the limits for an answer that is read at once."""
        return Limits(min(self.seconds, self.total), total=self.total)

    @property
    def large(self) -> Limits:
        """Return the limits for a file, which may take as long as its bytes keep coming."""
        return Limits(self.seconds)


USUAL = Patience()


@dataclasses.dataclass(frozen=True)
class Reached:
    """An answer that is not a redirect, its place, and the file headers of the redirects before it."""

    answer: Answer
    place: Place
    linked: Headers


@dataclasses.dataclass(frozen=True)
class Small:
    """A small answer read whole; ``url`` is its final location after redirects."""

    url: str
    body: bytes
    header: typing.Callable[[str], str]


@contextlib.contextmanager
def opened(road: Road, place: Place, headers: Headers, limits: Limits) -> typing.Iterator[Reached]:
    """Send a GET request and yield the answer, of any status, before its body is read. Raises OriginError."""
    pool = Pool(limits)
    with contextlib.ExitStack() as stack:
        stack.callback(pool.close)
        reached = reach(pool, road, place, headers)
        stack.callback(reached.answer.close)
        stack.callback(pool.close)  # before the answer is closed, so that no one waits for its rest
        yield reached


def reach(pool: Pool, road: Road, place: Place, headers: Headers) -> Reached:
    """Follow redirects from ``place`` to an answer. Raises OriginError."""
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
    """Return a small file of at most ``most`` bytes; retry temporary errors.

    Raises OriginError with the HTTP ``status``.
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
    """Return the result of ``ask``, retried after temporary errors.

    ``step`` more bytes of progress, as counted by ``have``, reset the number of tries.
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
            server_wait = getattr(error, "after", None)
            too_long = server_wait is not None and server_wait > patience.longest_wait
            if failed >= (min(_FEW_TRIES, patience.tries) if too_long else patience.tries):
                error.limit = limit(failed, server_wait or 0.0, patience.longest_wait)
                raise
        time.sleep(min(wait if server_wait is None else server_wait, patience.longest_wait))


def limit(times: int, server_wait: float, longest: float) -> str:
    """Describe why the retries ended: more than one try, and a wait (seconds) of the server beyond ``longest``."""
    tries = f"{times} times in a row" if times > 1 else ""
    asks = f"the server asks to wait {server_wait:.0f} s (at most {longest:g} s)" if server_wait > longest else ""
    reasons = ", and ".join(reason for reason in (tries, asks) if reason)
    return f" ({reasons})" if reasons else ""


def unreachable(variable: str, url: str, error: OriginError) -> ProblemError:
    """Return the problem for a request to ``url`` that failed with ``error``."""
    reason = failure(url, error)
    return ProblemError(Problem(variable, reason + error.limit, "a file or index that can be read", remedy(reason)))


def failure(url: str, error: OriginError) -> str:
    """Return how a request to ``url`` failed, and through which proxy, as a noun phrase without secrets."""
    text, shown = str(error), _shown(url)
    silence = text.removeprefix("no answer")
    return (f"{text} from {shown}" if silence == text else f"no answer from {shown}{silence}") + error.via


def remedy(reason: str) -> str:
    """Return what to do about a request that failed, by the text of its ``failure``."""
    return next((cure for sign, cure in _REMEDIES.items() if sign in reason), REACH)


def _shown(url: str) -> str:
    try:
        return bare(url)
    except ValueError:
        return "an invalid address"
