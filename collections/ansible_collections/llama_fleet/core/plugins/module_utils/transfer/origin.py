# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Read ranges of a file at one origin: resolve redirects once, and check every answer."""

from __future__ import annotations

import re
import threading
import typing
import urllib.parse

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.rules import (
    BrokenError,
    OriginError,
    Place,
    RefusedError,
    Road,
    bare,
    origin_of,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.status import (
    HOPS,
    REDIRECTS,
    BusyError,
    impostor,
    refusal,
    require_plain,
    whole_number,
)

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.pool import Answer, Pool
    from ansible_collections.llama_fleet.core.plugins.module_utils.transfer.request import Origin

HEAD = 4096  # first bytes, checked before any is written
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)")
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")


class RemoteFile:
    """A file of ``size`` bytes at ``origin``. The location behind its redirects is kept until it expires."""

    def __init__(self, pool: Pool, origin: Origin, size: int, sha256: str) -> None:
        self._road = Road(origin.endpoint or origin.url, origin.headers)
        self._begin = origin.url if origin.endpoint else ""
        self.origin = origin_of(origin.url)
        self.host = urllib.parse.urlsplit(origin.url).hostname or ""
        self.where = bare(origin.url)
        self._pool = pool
        self._size = size
        self._sha256 = sha256
        self._known: Place | None = None
        self._resolving = threading.Lock()

    def ask(self, begin: int, end: int) -> Answer:
        """Request the bytes from ``begin`` up to, not including, ``end``.

        If the server ignores ranges, the answer holds the whole file and has ``whole`` set. Raises OriginError.
        """
        location = self._known
        if location is None:
            with self._resolving:  # once for all threads
                location = self._known
                if location is None:
                    answer, self._known = self._follow(self._road.begin(self._begin), begin, end)
                    return answer
        return self._follow(location, begin, end)[0]

    def _follow(self, location: Place, begin: int, end: int) -> tuple[Answer, Place]:
        for _hop in range(HOPS):
            try:
                answer = self._request(location, begin, end)
            except BrokenError:
                self._forget(location)
                raise
            if answer.status in REDIRECTS:
                location = self._next(answer, location)
                continue
            try:
                self._judge(answer, location, begin, end)
            except OriginError as error:
                answer.close()
                if not isinstance(error, BusyError):
                    self._forget(location)
                raise
            return answer, location
        raise RefusedError(f"more than {HOPS} redirects")

    def _forget(self, location: Place) -> None:
        """Start at the redirect again next time: it may lead to a better server, and a signature may have expired."""
        if self._known is location:
            self._known = None

    def _request(self, location: Place, begin: int, end: int) -> Answer:
        return self._pool.ask(location, {"User-Agent": "llama-fleet", "Range": f"bytes={begin}-{end - 1}"})

    def _next(self, answer: Answer, location: Place) -> Place:
        """Return the target of a redirect, after checking its information about the file."""
        size, etag, target = (answer.header(name) for name in ("X-Linked-Size", "X-Linked-Etag", "Location"))
        answer.close()
        if whole_number(size) not in (None, self._size):
            raise RefusedError(f"a file of {size} bytes")
        if _SHA256.fullmatch(etag.strip('"')) and etag.strip('"').lower() != self._sha256:
            raise RefusedError(f"a file with sha256 {etag.strip(chr(34)).lower()}")
        return self._road.follow(location, target)

    def _judge(self, answer: Answer, location: Place, begin: int, end: int) -> None:
        """Raise OriginError if the answer does not hold the requested bytes."""
        if answer.status == 206:
            self._judge_range(answer, location, begin, end)
        elif answer.status == 200:
            self._judge_whole(answer)
        elif answer.status == 416:
            total = answer.header("Content-Range").rpartition("/")[2]
            raise RefusedError(
                self._describe(
                    answer,
                    location,
                    begin,
                    f"a file of {total} bytes" if whole_number(total) is not None else "a shorter file",
                )
            )
        else:
            raise refusal(answer, location)

    def _judge_range(self, answer: Answer, location: Place, begin: int, end: int) -> None:
        require_plain(answer)
        content_range = _CONTENT_RANGE.fullmatch(answer.header("Content-Range").strip())
        if content_range is None:
            raise RefusedError("a partial answer without a valid Content-Range")
        first, last, total = content_range.groups()
        if total not in ("*", str(self._size)):
            raise RefusedError(self._describe(answer, location, begin, f"a file of {total} bytes"))
        if int(first) != begin or not begin <= int(last) < end:
            raise RefusedError(f"bytes {first} to {last} instead of {begin} to {end - 1}")
        answer.end = int(last) + 1
        answer.expect(answer.end - begin)

    def _judge_whole(self, answer: Answer) -> None:
        require_plain(answer)
        answer.whole = True
        answer.expect(self._size)
        answer.end = self._size
        if answer.length not in (None, self._size):
            raise RefusedError(impostor(answer.start(HEAD)) or f"a file of {answer.length} bytes")

    def _describe(self, answer: Answer, location: Place, begin: int, otherwise: str) -> str:
        """Describe a file of the wrong size by its first bytes, or as ``otherwise``."""
        if begin == 0 and answer.status == 206:
            return impostor(answer.start(HEAD)) or otherwise
        try:
            answer.close()
            beginning = self._request(location, 0, HEAD)
            try:
                return (impostor(beginning.start(HEAD)) if beginning.status in (200, 206) else "") or otherwise
            finally:
                beginning.close()
        except OriginError:
            return otherwise
