# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Ask network endpoints in parallel within a time limit, because a firewall that drops packets never answers."""

from __future__ import annotations

import dataclasses
import email.utils
import re
import threading
import time
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.ask import Reached, failure, opened
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.clock import Limits
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.rules import OriginError, Road
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.status import whole_number
from ansible_collections.llama_fleet.core.plugins.module_utils.plain_text import printable

LARGEST = 20 << 20  # bytes of a listing


@dataclasses.dataclass(frozen=True)
class Reply:
    """An HTTP answer.

    ``size`` is the whole file's in bytes, or 0 if unknown. ``skew`` is how far this clock is ahead of the server's, in
    seconds.
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
    """There was no answer; the text is the reason as a noun phrase."""


class Ask(typing.Protocol):
    """A function that requests a URL or its first byte."""

    def __call__(
        self, url: str, headers: typing.Mapping[str, str] | None = None, listing: bool = False, endpoint: str = ""
    ) -> Reply:
        """Return the answer of any status: the whole ``listing``, or the first byte of a file. Raises SilentError.

        ``endpoint`` is the server that supplied ``url``, if the operator did not name the URL.
        """


def asker(limit: float) -> Ask:
    """Return an Ask that uses the network, with a time limit for each answer in seconds."""
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
            raise SilentError(failure(url, error)) from None

    return ask


def _reply(reached: Reached, listing: bool) -> Reply:
    answer = reached.answer
    length = (
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
        whole_number(length) or 0,
        _skew(answer.header("Date")),
        code,
    )


def _skew(date: str | None) -> float | None:
    try:
        return time.time() - email.utils.parsedate_to_datetime(date).timestamp() if date else None
    except (ValueError, TypeError, IndexError):
        return None


Key = typing.TypeVar("Key", bound=typing.Hashable)
Value = typing.TypeVar("Value")


def side_by_side(tasks: typing.Mapping[Key, typing.Callable[[], Value]], limit: float) -> dict[Key, Value]:
    """Run all tasks in parallel threads and return their results.

    Tasks that do not end within ``limit`` seconds are left out; their threads end with the process.
    """
    done: dict[Key, Value] = {}

    def do(key: Key, task: typing.Callable[[], Value]) -> None:
        done[key] = task()

    # Not a pool, which waits for its threads at exit: resolving a name may take longer than any time limit.
    threads = [threading.Thread(target=do, args=item, daemon=True) for item in tasks.items()]
    for thread in threads:
        thread.start()
    end = time.monotonic() + limit
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    return dict(done)
