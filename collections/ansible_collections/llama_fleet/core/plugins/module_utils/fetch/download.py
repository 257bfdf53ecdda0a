# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""One file over HTTP: resumed where it broke off, hashed on the way, never taken unverified, never longer than its
caller allows.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import hashlib
import os
import re
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch import ask as http_ask
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.ask import Patience, opened, tried, unreachable
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.rules import (
    BrokenError,
    OriginError,
    RefusedError,
    Road,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.status import refusal, whole_number
from ansible_collections.llama_fleet.core.plugins.module_utils.host.files import CHUNK, sync_directory
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError

if typing.TYPE_CHECKING:
    import pathlib

    from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.pool import Answer

_HEAD = 4096  # first bytes that are looked at before any is written
_BLOCK = 1 << 18  # a kill costs no more, and a slow line shows that it lives
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)")
_PAGE = re.compile(rb"\s*<(!doctype html|html)", re.IGNORECASE)
Seen = typing.Callable[[int], None]
Check = typing.Callable[[bytes], None]


@dataclasses.dataclass(frozen=True)
class Remote:
    """What a server tells of a file. ``size`` is 0 and ``sha256`` empty where it does not."""

    size: int
    sha256: str
    first: bytes


def probe(url: str, variable: str, endpoint: str = "") -> Remote:
    """Return the size, the checksum and the first bytes of ``url``, as far as the server tells. ``endpoint`` is what
    told of ``url``.

    A GET of four bytes and not a HEAD, because signed locations answer only the method they were signed for.
    """

    def ask(road: Road, patience: Patience) -> Remote:
        with opened(road, road.begin(url if endpoint else ""), {"Range": "bytes=0-3"}, patience.small) as reached:
            answer = reached.answer
            if answer.status not in (200, 206):
                raise refusal(answer, reached.place)
            told = _RANGE.fullmatch(answer.header("Content-Range")) if answer.status == 206 else None
            size = reached.linked.get("X-Linked-Size") or (
                told[3] if told else "" if answer.status == 206 else answer.header("Content-Length")
            )
            etag = reached.linked.get("X-Linked-Etag", "").strip('"')
            return Remote(whole_number(size) or 0, etag.lower() if _SHA256.fullmatch(etag) else "", answer.start(4))

    return _asked(ask, url, variable, endpoint)


def read_range(url: str, begin: int, end: int, variable: str, endpoint: str = "") -> bytes | None:
    """Return the bytes of ``url`` from ``begin`` up to, not including, ``end``;

    None where the server sends no ranges.
    """

    def ask(road: Road, patience: Patience) -> bytes | None:
        with opened(
            road, road.begin(url if endpoint else ""), {"Range": f"bytes={begin}-{end - 1}"}, patience.small
        ) as reached:
            if reached.answer.status not in (200, 206):
                raise refusal(reached.answer, reached.place)
            if reached.answer.status == 200:
                return None
            _require_start(reached.answer, begin)
            return reached.answer.body(end - begin) or None

    return _asked(ask, url, variable, endpoint)


def _asked(
    ask: typing.Callable[[Road, Patience], http_ask.Result], url: str, variable: str, endpoint: str
) -> http_ask.Result:
    patience = http_ask.USUAL
    try:
        road = Road(endpoint or url)
        return tried(lambda: ask(road, patience), patience)
    except OriginError as error:
        raise unreachable(variable, url, error) from error


def fetch(
    url: str,
    target: pathlib.Path,
    sha256: str,
    variable: str,
    headers: typing.Mapping[str, str] | None = None,
    seen: Seen = lambda _count: None,
    check: Check = lambda _first: None,
    *,
    most: int,
    endpoint: str = "",
) -> str:
    """Fetch ``url``, of at most ``most`` bytes, into ``target`` and return its sha256 (lower-case hex).

    The bytes go to ``<target>.part``, which a later call goes on with, and are renamed once the
    checksum is right; an empty ``sha256`` accepts any. ``seen`` is told the bytes that are there.
    ``check`` is given the first bytes before anything is written and raises where they cannot be right.
    ``headers`` go to the origin of ``endpoint`` alone: what the operator named, if that is not ``url`` itself.
    A file that turns out wrong is removed, so the next call begins afresh.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    resumed = part.exists() and part.stat().st_size > 0
    try:
        road = Road(endpoint or url, headers)
    except OriginError as error:
        raise unreachable(variable, url, error) from error
    transfer = _Transfer(url, road, bool(endpoint), variable, seen, check, most)
    found, size = transfer.complete(part)
    if resumed and sha256 and found != sha256:  # the old bytes may be the wrong ones, after a power cut say
        part.unlink()
        found, size = transfer.complete(part)
    if sha256 and found != sha256:
        part.unlink()
        raise ProblemError(
            Problem(
                variable,
                f"sha256 {found} of {size} bytes from {url}",
                f"sha256 {sha256}",
                "correct the sum, or do not trust this source",
            )
        )
    os.replace(part, target)
    sync_directory(target.parent)
    return found


class _Transfer:
    """The bytes of one URL, over as many connections as it takes.

    ``told`` is whether the endpoint of ``road`` told of the URL, and is not it.
    """

    def __init__(self, url: str, road: Road, told: bool, variable: str, seen: Seen, check: Check, most: int) -> None:
        self._url = url
        self._road = road
        self._told = told
        self._variable = variable
        self._seen = seen
        self._check = check
        self._most = most
        self._size: int | None = None  # of the whole file, once an answer has told
        self._patience = http_ask.USUAL

    def complete(self, part: pathlib.Path) -> tuple[str, int]:
        """Bring ``part`` to its end; returns its sha256 and size."""
        digest = hashlib.sha256()
        with part.open("a+b") as file:
            self._hash_existing(file, digest)
            try:
                tried(lambda: self._receive(file, digest, part), self._patience, file.tell)
            except OriginError as error:
                raise unreachable(self._variable, self._url, error) from error
            with disk_problems(part):
                file.flush()
                os.fsync(file.fileno())
            return digest.hexdigest(), file.tell()

    def _hash_existing(self, file: typing.IO[bytes], digest: typing.Any) -> None:
        file.seek(0)
        for chunk in iter(lambda: file.read(CHUNK), b""):
            digest.update(chunk)
        self._seen(file.tell())

    def _receive(self, file: typing.IO[bytes], digest: typing.Any, part: pathlib.Path) -> None:
        """Append what is missing. Raises OriginError where the answer is for other bytes, or breaks off."""
        have = file.tell()
        place = self._road.begin(self._url if self._told else "")
        with opened(self._road, place, {"Range": f"bytes={have}-"} if have else {}, self._patience.large) as reached:
            answer = reached.answer
            if answer.status == 416 and have:  # nothing lies beyond what is there
                return
            if answer.status not in (200, 206):
                raise refusal(answer, reached.place)
            self._judge(answer, have)
            for block in _blocks(answer, have if answer.status == 200 else 0):
                if have == 0:
                    _require_no_page(block)
                    self._check(bytes(block))
                have += len(block)
                if have > self._most:
                    raise RefusedError(f"a file of more than {self._most} bytes, the most that is taken")
                with disk_problems(part):
                    file.write(block)
                digest.update(block)
                self._seen(have)
        if have < (self._size or 0):
            raise BrokenError(f"an answer that broke off at byte {have} of {self._size}")

    def _judge(self, answer: Answer, have: int) -> None:
        """Raise RefusedError where an answer holds other bytes than those after the first ``have``, is of another
        file, or of one too large.
        """
        size = answer.length
        if answer.status == 206:
            size = _require_start(answer, have)
        if size is None:
            answer.expect(self._most)
            return
        if size > self._most:
            raise RefusedError(f"a file of {size} bytes, and {self._most} are the most that is taken")
        if have and self._size not in (None, size):
            raise RefusedError(f"a file of {size} bytes, which had {self._size} before")
        self._size = size
        answer.expect(size)


def _blocks(answer: Answer, skipped: int) -> typing.Iterator[memoryview]:
    """What an answer holds after the bytes that are ``skipped``.

    Raises BrokenError where it breaks off, once all that came has been handed on.
    """
    view = memoryview(bytearray(_BLOCK))
    position = 0
    while True:
        filled, error = _fill(answer, view)
        if error and position == 0 and filled < _HEAD:  # too little to look at, so too little to keep
            raise error
        block = view[min(filled, max(0, skipped - position)) : filled]
        position += filled
        if block:
            yield block
        if error:
            raise error
        if filled < len(view):
            return


def _fill(answer: Answer, view: memoryview) -> tuple[int, OriginError | None]:
    """Return how many bytes have come into ``view``, and why there are no more where the answer broke off."""
    filled = 0
    try:
        while filled < len(view):
            count = answer.readinto(view[filled:])
            if not count:
                break
            filled += count
    except OriginError as error:
        return filled, error
    return filled, None


def _require_start(answer: Answer, begin: int) -> int | None:
    """Return the size of the whole file that a partial answer tells.

    Raises RefusedError where it does not begin at ``begin``.
    """
    told = _RANGE.fullmatch(answer.header("Content-Range"))
    if told is None:
        raise RefusedError("a partial answer that does not say which part")
    first, last = int(told[1]), int(told[2])
    if first != begin or (answer.length is not None and answer.length != last + 1 - first):
        raise RefusedError(f"bytes {first} to {last} instead of those from {begin}")
    return whole_number(told[3])


def _require_no_page(first: memoryview) -> None:
    if _PAGE.match(first):
        raise RefusedError("an HTML page instead of the file")


@contextlib.contextmanager
def disk_problems(path: pathlib.Path) -> typing.Iterator[None]:
    """Tells a full disk from a broken connection: both are OSError, only one is worth another try."""
    try:
        yield
    except OSError as error:
        reason = "no space left" if error.errno in _NO_SPACE else str(error.strerror)
        fix = (
            f"{'make room there' if error.errno in _NO_SPACE else 'mend that'} and run again: it goes on where it "
            f"stopped"
        )
        raise ProblemError(
            Problem("disk space", f"{reason} while writing {path}", "room for the whole file", fix)
        ) from error
