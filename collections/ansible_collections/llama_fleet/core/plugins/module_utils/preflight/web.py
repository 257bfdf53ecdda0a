# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Who on the network answers, asked side by side and never longer than a time limit: a firewall that drops packets
answers nobody.
"""

from __future__ import annotations

import dataclasses
import email.utils
import re
import threading
import time
import typing
import urllib.request

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.ask import Reached, opened
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.clock import Limits
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.rules import OriginError, Road, bare
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.status import whole_number
from ansible_collections.llama_fleet.core.plugins.module_utils.untrusted import printable

LARGEST = 20 << 20  # of a listing


@dataclasses.dataclass(frozen=True)
class Reply:
    """An answer:

    ``size`` is the whole file's in bytes, 0 where it does not tell; ``skew`` is how far this clock is ahead of the
    server's, in seconds.
    """

    status: int
    body: bytes = b""
    kind: str = ""
    size: int = 0
    skew: float | None = None
    code: str = ""

    @property
    def ok(self) -> bool:
        return self.status in (200, 206)


class SilentError(Exception):
    """Why there was no answer, as a noun phrase."""


class Ask(typing.Protocol):
    """Asks for the beginning of a URL."""

    def __call__(
        self, url: str, headers: typing.Mapping[str, str] | None = None, listing: bool = False, endpoint: str = ""
    ) -> Reply:
        """The answer, whatever its status; of a ``listing`` all of it, of a file its first byte. Raises SilentError.

        ``endpoint`` is what told of ``url``, if that is not what the operator named.
        """


def asker(limit: float) -> Ask:
    """The real one; ``limit`` is how many seconds an answer may take."""
    limits = Limits(limit, total=limit)

    def ask(
        url: str, headers: typing.Mapping[str, str] | None = None, listing: bool = False, endpoint: str = ""
    ) -> Reply:
        secrets = {name: value for name, value in (headers or {}).items() if name == "Authorization"}
        plain = {name: value for name, value in (headers or {}).items() if name != "Authorization"}
        try:
            road = Road(endpoint or url, secrets)
            with opened(
                road,
                road.begin(url if endpoint else ""),
                {**plain, **({} if listing else {"Range": "bytes=0-0"})},
                limits,
            ) as reached:
                return _reply(reached, listing)
        except OriginError as error:
            raise SilentError(f"no answer from {_shown(url)} ({_reason(error)}){via(url)}") from None

    return ask


def _reason(error: OriginError) -> str:
    """Why, without the words that the sentence begins with."""
    return (
        str(error).removeprefix("no answer (").removesuffix(")") if str(error).startswith("no answer (") else str(error)
    )


def _shown(url: str) -> str:
    try:
        return bare(url)
    except ValueError:
        return "an invalid address"


def _reply(reached: Reached, listing: bool) -> Reply:
    answer = reached.answer
    told = (
        reached.linked.get("X-Linked-Size")
        or answer.header("Content-Range").rpartition("/")[2]
        or answer.header("Content-Length")
    )
    code = re.sub(r"[^A-Za-z]", "", answer.header("X-Error-Code"))[:60]
    body = b"" if answer.status not in (200, 206) else answer.body(LARGEST) if listing else answer.start(1)
    return Reply(
        answer.status,
        body,
        printable(answer.header("Content-Type"), 100),
        whole_number(told) or 0,
        _skew(answer.header("Date")),
        code,
    )


def _skew(date: str | None) -> float | None:
    try:
        return time.time() - email.utils.parsedate_to_datetime(date).timestamp() if date else None
    except (ValueError, TypeError, IndexError):
        return None


def via(url: str) -> str:
    """``, through the proxy …`` where the host's environment sets one for ``url``; never its user and password."""
    scheme, _colon, rest = url.partition("://")
    host = rest.partition("/")[0].rpartition("@")[2]
    proxy = urllib.request.getproxies().get(scheme, "")
    if not proxy or urllib.request.proxy_bypass(host):
        return ""
    return f", through the proxy {bare(proxy if '://' in proxy else f'http://{proxy}')}"


Key = typing.TypeVar("Key", bound=typing.Hashable)
Value = typing.TypeVar("Value")


def side_by_side(tasks: typing.Mapping[Key, typing.Callable[[], Value]], limit: float) -> dict[Key, Value]:
    """What each task returned; those that did not end within ``limit`` seconds are left out and end with the
    process.
    """
    done: dict[Key, Value] = {}

    def do(key: Key, task: typing.Callable[[], Value]) -> None:
        done[key] = task()

    # Not a pool: it waits for its threads when the process ends, and a name that is not resolved keeps one longer than
    # any time limit.
    threads = [threading.Thread(target=do, args=item, daemon=True) for item in tasks.items()]
    for thread in threads:
        thread.start()
    end = time.monotonic() + limit
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    return dict(done)
