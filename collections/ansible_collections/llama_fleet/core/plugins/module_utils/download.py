# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""One file over HTTP: resumed where it broke off, hashed on the way, never taken unverified."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import hashlib
import http.client
import os
import pathlib
import re
import time
import typing
import urllib.error
import urllib.parse
import urllib.request

from ansible_collections.llama_fleet.core.plugins.module_utils.files import CHUNK, sync_directory
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError

_BLOCK = 1 << 18  # a kill costs no more, and a slow line shows that it lives
_TRIES = 5  # in a row without a single byte
_TIMEOUT = 60  # seconds without a byte
_LONGEST_WAIT = 60.0
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
Seen = typing.Callable[[int], None]
Check = typing.Callable[[bytes], None]
Answer = typing.TypeVar("Answer")


@dataclasses.dataclass(frozen=True)
class Remote:
    """What a server tells of a file. ``size`` is 0 and ``sha256`` empty where it does not."""

    size: int
    sha256: str
    first: bytes


class SameOriginRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but never hands Authorization to another origin.

    ``linked`` collects what the redirecting answers say of the file itself.
    """

    def __init__(self) -> None:
        self.linked: dict[str, str] = {}

    def redirect_request(
        self, req: urllib.request.Request, fp: typing.Any, code: int, msg: str, headers: typing.Any, newurl: str
    ) -> urllib.request.Request | None:
        self.linked.update({name: headers[name] for name in ("X-Linked-Etag", "X-Linked-Size") if headers[name]})
        request = super().redirect_request(req, fp, code, msg, headers, newurl)
        if request is not None and _origin(req.full_url) != _origin(newurl):
            request.remove_header("Authorization")
        return request


def _origin(url: str) -> tuple[str, str]:
    parts = urllib.parse.urlsplit(url)
    return parts.scheme, parts.netloc


def unreachable(variable: str, url: str, error: OSError) -> ProblemError:
    """The problem that a request to ``url`` ended with ``error``."""
    reason = getattr(error, "reason", None) or error
    code = getattr(error, "code", None)
    if isinstance(error, urllib.error.HTTPError):
        error.close()
    found = f"HTTP status {code} from {url}" if code else f"no answer from {url} ({reason})"
    return ProblemError(Problem(variable, found, "a file or index that can be read", "check the address, the network and any proxy of the host"))


def probe(url: str, variable: str, headers: typing.Mapping[str, str] | None = None) -> Remote:
    """The size, the checksum and the first bytes of ``url``, as far as the server tells.

    A GET of four bytes and not a HEAD, because signed locations answer only the method they were signed for.
    """
    redirects = SameOriginRedirects()
    try:
        with _open(url, {**(headers or {}), "Range": "bytes=0-3"}, redirects) as answer:
            first: bytes = answer.read(4)
            told = {**redirects.linked, **{name: answer.headers[name] for name in ("X-Linked-Etag", "X-Linked-Size") if answer.headers[name]}}
            whole = answer.headers["Content-Range"].rpartition("/")[2] if answer.headers["Content-Range"] else answer.headers["Content-Length"]
    except (OSError, http.client.HTTPException) as error:
        raise unreachable(variable, url, _as_oserror(error)) from error
    size = told.get("X-Linked-Size") or whole or ""
    etag = told.get("X-Linked-Etag", "").strip('"')
    return Remote(int(size) if size.isdigit() else 0, etag.lower() if _SHA256.fullmatch(etag) else "", first)


def read_range(url: str, begin: int, end: int, variable: str) -> bytes | None:
    """The bytes of ``url`` from ``begin`` up to, not including, ``end``; None where the server sends no ranges."""
    try:
        with _open(url, {"Range": f"bytes={begin}-{end - 1}"}, SameOriginRedirects()) as answer:
            data: bytes = answer.read(end - begin) if answer.status == 206 else b""
    except (OSError, http.client.HTTPException) as error:
        raise unreachable(variable, url, _as_oserror(error)) from error
    return data or None


def fetch(
    url: str,
    target: pathlib.Path,
    sha256: str,
    variable: str,
    headers: typing.Mapping[str, str] | None = None,
    seen: Seen = lambda _count: None,
    check: Check = lambda _first: None,
) -> str:
    """Fetch ``url`` into ``target`` and return its sha256 (lower-case hex).

    The bytes go to ``<target>.part``, which a later call goes on with, and are renamed once the
    checksum is right; an empty ``sha256`` accepts any. ``seen`` is told the bytes that are there.
    ``check`` is given the first bytes before anything is written and raises where they cannot be right.
    A file that turns out wrong is removed, so the next call begins afresh.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    resumed = part.exists() and part.stat().st_size > 0
    transfer = _Transfer(url, variable, headers or {}, seen, check)
    found, size = transfer.complete(part)
    if resumed and sha256 and found != sha256:  # the old bytes may be the wrong ones, after a power cut say
        part.unlink()
        found, size = transfer.complete(part)
    if sha256 and found != sha256:
        part.unlink()
        raise ProblemError(Problem(variable, f"sha256 {found} of {size} bytes from {url}", f"sha256 {sha256}", "correct the sum, or do not trust this source"))
    os.replace(part, target)
    sync_directory(target.parent)
    return found


@dataclasses.dataclass(frozen=True)
class _Transfer:
    """The bytes of one URL, over as many connections as it takes."""

    url: str
    variable: str
    headers: typing.Mapping[str, str]
    seen: Seen
    check: Check

    def complete(self, part: pathlib.Path) -> tuple[str, int]:
        """Bring ``part`` to its end; returns its sha256 and size."""
        digest = hashlib.sha256()
        with part.open("a+b") as file:
            self._hash_existing(file, digest)
            try:
                tried(lambda: self._receive(file, digest), self.url, file.tell)
            except (OSError, http.client.HTTPException) as error:
                raise unreachable(self.variable, self.url, _as_oserror(error)) from error
            with disk_problems(part):
                file.flush()
                os.fsync(file.fileno())
            return digest.hexdigest(), file.tell()

    def _hash_existing(self, file: typing.IO[bytes], digest: typing.Any) -> None:
        file.seek(0)
        for chunk in iter(lambda: file.read(CHUNK), b""):
            digest.update(chunk)
        self.seen(file.tell())

    def _receive(self, file: typing.IO[bytes], digest: typing.Any) -> None:
        """Append what is missing. Raises OSError where the answer breaks off."""
        have = file.tell()
        try:
            answer = _open(self.url, {**self.headers, **({"Range": f"bytes={have}-"} if have else {})}, SameOriginRedirects())
        except urllib.error.HTTPError as error:
            if error.code == 416 and have:  # nothing lies beyond what is there
                return
            raise
        with answer:
            if have and answer.status != 206:  # no ranges here: skip what is there already
                _skip(answer, have)
            length = int(answer.headers["Content-Length"] or 0)
            end = have + length if answer.status == 206 and length else length
            for chunk in iter(lambda: answer.read(_BLOCK), b""):
                if have == 0:
                    self.check(chunk)
                with disk_problems(pathlib.Path(file.name)):
                    file.write(chunk)
                digest.update(chunk)
                have += len(chunk)
                self.seen(have)
        if end and have < end:
            raise OSError(f"the connection broke off at {have} of {end} bytes")


def _open(url: str, headers: typing.Mapping[str, str], redirects: SameOriginRedirects) -> typing.Any:
    request = urllib.request.Request(url, headers={"User-Agent": "llama-fleet", **headers})
    return urllib.request.build_opener(redirects).open(request, timeout=_TIMEOUT)


def _as_oserror(error: Exception) -> OSError:
    return error if isinstance(error, OSError) else OSError(f"{type(error).__name__} {error}".strip())


def tried(ask: typing.Callable[[], Answer], url: str, have: typing.Callable[[], int] = lambda: 0) -> Answer:
    """What ``ask`` returns, asked again after an error that may pass. ``have`` tells the bytes that are there: any more of them begin the count anew."""
    failed = 0
    before = have()
    while True:
        try:
            return ask()
        except (OSError, http.client.HTTPException) as error:
            failed = 1 if have() > before else failed + 1
            before = have()
            wait = _wait(error, url, failed)
            if wait is None:
                raise
            if isinstance(error, urllib.error.HTTPError):
                error.close()
        time.sleep(wait)


def _wait(error: Exception, url: str, failed: int) -> float | None:
    """Seconds before the next try after ``failed`` ones in a row; None where another one is of no use."""
    code = getattr(error, "code", 0)
    expired = code == 403 and _origin(getattr(error, "url", url)) != _origin(url)  # a signed location: asking again gives a new one
    if failed >= _TRIES or (400 <= code < 500 and code not in (408, 429) and not expired):
        return None
    told = getattr(error, "headers", None)
    after = (told["Retry-After"] or "") if told else ""
    return min(float(after), _LONGEST_WAIT) if after.isdigit() else 2.0**failed / 8


@contextlib.contextmanager
def disk_problems(path: pathlib.Path) -> typing.Iterator[None]:
    """Tells a full disk from a broken connection: both are OSError, only one is worth another try."""
    try:
        yield
    except OSError as error:
        reason = "no space left" if error.errno in _NO_SPACE else str(error.strerror)
        fix = f"{'make room there' if error.errno in _NO_SPACE else 'mend that'} and run again: it goes on where it stopped"
        raise ProblemError(Problem("disk space", f"{reason} while writing {path}", "room for the whole file", fix)) from error


def _skip(answer: typing.Any, count: int) -> None:
    while count > 0:
        chunk = answer.read(min(CHUNK, count))
        if not chunk:
            return
        count -= len(chunk)
