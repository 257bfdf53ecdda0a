# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Download one file over HTTP: resumable, hashed as it arrives, verified and limited in size."""

from __future__ import annotations

import dataclasses
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
from ansible_collections.llama_fleet.core.plugins.module_utils.host.disk import disk_problems
from ansible_collections.llama_fleet.core.plugins.module_utils.host.files import CHUNK, sync_directory
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError

if typing.TYPE_CHECKING:
    import pathlib

    from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.pool import Answer

_HEAD = 4096  # first bytes, checked before any is written
_BLOCK = 1 << 18  # bytes: a kill loses no more, and progress shows even on a slow connection
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)")
_PAGE = re.compile(rb"\s*<(!doctype html|html)", re.IGNORECASE)
Seen = typing.Callable[[int], None]
Check = typing.Callable[[bytes], None]


@dataclasses.dataclass(frozen=True)
class Remote:
    """A server's information about a file. ``size`` is 0 and ``sha256`` empty if unknown."""

    size: int
    sha256: str
    first: bytes


def probe(url: str, variable: str, endpoint: str = "", secrets: typing.Mapping[str, str] | None = None) -> Remote:
    """Return the size, checksum and first bytes of ``url``, as far as the server reports them.

    ``endpoint`` is the server that named ``url``; ``secrets`` are headers for its origin only. Sends a GET for four
    bytes instead of a HEAD, because signed URLs accept only the method they were signed for.
    """

    def ask(road: Road, patience: Patience) -> Remote:
        with opened(road, road.begin(url if endpoint else ""), {"Range": "bytes=0-3"}, patience.small) as reached:
            answer = reached.answer
            if answer.status not in (200, 206):
                raise refusal(answer, reached.place)
            ranges = _RANGE.fullmatch(answer.header("Content-Range")) if answer.status == 206 else None
            size = reached.linked.get("X-Linked-Size") or (
                ranges[3] if ranges else "" if answer.status == 206 else answer.header("Content-Length")
            )
            etag = reached.linked.get("X-Linked-Etag", "").strip('"')
            return Remote(whole_number(size) or 0, etag.lower() if _SHA256.fullmatch(etag) else "", answer.start(4))

    return _asked(ask, url, variable, endpoint, secrets)


def read_range(url: str, begin: int, end: int, variable: str, endpoint: str = "") -> bytes | None:
    """Return the bytes of ``url`` from ``begin`` up to, not including, ``end``.

    Returns None if the server does not support ranges.
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
    ask: typing.Callable[[Road, Patience], http_ask.Result],
    url: str,
    variable: str,
    endpoint: str,
    secrets: typing.Mapping[str, str] | None = None,
) -> http_ask.Result:
    patience = http_ask.USUAL
    try:
        road = Road(endpoint or url, secrets)
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
    """Download ``url``, of at most ``most`` bytes, to ``target`` and return its SHA-256 (lower-case hex).

    The bytes go to ``<target>.part``, which a later call resumes, and which is renamed once its checksum is right; an
    empty ``sha256`` accepts any. ``seen`` gets the bytes present so far. ``check`` gets the first bytes before anything
    is written and raises if they cannot be right. ``headers`` are sent only to the origin of ``endpoint``, the address
    that the operator named, if that is not ``url`` itself. A wrong file is removed, so the next call starts over.
    Raises ProblemError.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    resumed = part.exists() and part.stat().st_size > 0
    try:
        road = Road(endpoint or url, headers)
    except OriginError as error:
        raise unreachable(variable, url, error) from error
    transfer = _Transfer(url, road, bool(endpoint), variable, seen, check, most)
    digest, size = transfer.complete(part)
    if resumed and sha256 and digest != sha256:  # the old bytes may be wrong, for example after a power cut
        part.unlink()
        digest, size = transfer.complete(part)
    if sha256 and digest != sha256:
        part.unlink()
        fix = "correct the checksum, or do not trust this source"
        raise ProblemError(Problem(variable, f"sha256 {digest} of {size} bytes from {url}", f"sha256 {sha256}", fix))
    os.replace(part, target)
    sync_directory(target.parent)
    return digest


class _Transfer:
    """The download of one URL over one or more connections.

    ``named`` says that the endpoint of ``road`` named the URL and is not the URL itself.
    """

    def __init__(self, url: str, road: Road, named: bool, variable: str, seen: Seen, check: Check, most: int) -> None:
        self._url = url
        self._road = road
        self._named = named
        self._variable = variable
        self._seen = seen
        self._check = check
        self._most = most
        self._size: int | None = None  # of the whole file, once an answer has reported it
        self._patience = http_ask.USUAL

    def complete(self, part: pathlib.Path) -> tuple[str, int]:
        """Bring ``part`` to its end; return its SHA-256 and size in bytes."""
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
        """Append the missing bytes. Raises OriginError if the answer is for other bytes or is truncated."""
        have = file.tell()
        place = self._road.begin(self._url if self._named else "")
        with opened(self._road, place, {"Range": f"bytes={have}-"} if have else {}, self._patience.large) as reached:
            answer = reached.answer
            if answer.status == 416 and have:  # the file is already complete
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
                    raise RefusedError(f"a file of more than {self._most} bytes (the limit)")
                with disk_problems(part):
                    file.write(block)
                digest.update(block)
                self._seen(have)
        if have < (self._size or 0):
            raise BrokenError(f"an answer truncated at byte {have} of {self._size}")

    def _judge(self, answer: Answer, have: int) -> None:
        """Raise RefusedError if an answer does not continue the file after ``have`` bytes, or is too large."""
        size = answer.length
        if answer.status == 206:
            size = _require_start(answer, have)
        if size is None:
            answer.expect(self._most)
            return
        if size > self._most:
            raise RefusedError(f"a file of {size} bytes (at most {self._most} accepted)")
        if have and self._size not in (None, size):
            raise RefusedError(f"a file of {size} bytes, which was {self._size} bytes before")
        self._size = size
        answer.expect(size)


def _blocks(answer: Answer, skipped: int) -> typing.Iterator[memoryview]:
    """Yield the body of an answer after the first ``skipped`` bytes.

    Raises BrokenError if the answer is truncated, after yielding all that arrived.
    """
    view = memoryview(bytearray(_BLOCK))
    position = 0
    while True:
        filled, error = _fill(answer, view)
        if error and position == 0 and filled < _HEAD:  # too little to check, so too little to keep
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
    """Read into ``view``; return the bytes read, and the error if the answer is truncated."""
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
    """Return the size of the whole file according to a partial answer.

    Raises RefusedError if the answer does not begin at ``begin``.
    """
    ranges = _RANGE.fullmatch(answer.header("Content-Range"))
    if ranges is None:
        raise RefusedError("a partial answer without a valid Content-Range")
    first, last = int(ranges[1]), int(ranges[2])
    if first != begin or (answer.length is not None and answer.length != last + 1 - first):
        raise RefusedError(f"bytes {first} to {last} instead of those from {begin}")
    return whole_number(ranges[3])


def _require_no_page(first: memoryview) -> None:
    if _PAGE.match(first):
        raise RefusedError("an HTML page instead of the file")
