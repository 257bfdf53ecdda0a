# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""A file at one origin, asked for by ranges: redirects by hand, one location for all ranges, every answer judged."""

from __future__ import annotations

import base64
import dataclasses
import datetime as dt
import email.utils
import re
import threading
import typing
import urllib.parse

from ansible_collections.llama_fleet.core.plugins.module_utils.http_pool import Answer, BrokenError, OriginError, Pool, RefusedError, origin_of

HEAD = 4096  # first bytes that are looked at before any is written
_HOPS = 10
_LIMITED = re.compile(r"rate.?limit|too many|throttl", re.IGNORECASE)
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")


class BusyError(OriginError):
    """Asked too much. ``after`` is how many seconds to wait, as far as the answer tells."""

    def __init__(self, reason: str, after: float | None) -> None:
        super().__init__(reason)
        self.after = after


class ExpiredError(OriginError):
    """A location that was signed for a while, and the while is over."""


@dataclasses.dataclass(frozen=True)
class _Location:
    """Where redirects led. ``moved`` is whether that is another origin, which gets no headers of ours."""

    url: str
    moved: bool = False


def bare(url: str) -> str:
    """``url`` as it may be shown: user, password, query and fragment can be secrets."""
    parts = urllib.parse.urlsplit(url)
    return urllib.parse.urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def impostor(first: bytes) -> str:
    """What a body is that stands in for a file; empty where it may be the file."""
    start = first[:512].lstrip().lower()
    if start.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer instead of the file"
    return "an HTML page instead of the file" if start.startswith((b"<!doctype html", b"<html")) else ""


class RemoteFile:
    """``url``, a file of ``size`` bytes. The location behind its redirects is kept until it has expired."""

    def __init__(self, pool: Pool, url: str, headers: typing.Mapping[str, str], size: int, sha256: str) -> None:
        self.origin = origin_of(url)
        self.host = urllib.parse.urlsplit(url).hostname or ""
        self.where = bare(url)
        self._pool = pool
        self._url, login = _without_login(url)
        self._headers = {**login, **headers}
        self._size = size
        self._sha256 = sha256
        self._known: _Location | None = None
        self._resolving = threading.Lock()

    def ask(self, begin: int, end: int) -> Answer:
        """The answer for the bytes from ``begin`` up to, not including, ``end``, or for all of the file where ``whole`` is set."""
        location = self._known
        if location is None:
            with self._resolving:  # once for all
                location = self._known
                if location is None:
                    answer, self._known = self._follow(_Location(self._url), begin, end)
                    return answer
        return self._follow(location, begin, end)[0]

    def _follow(self, location: _Location, begin: int, end: int) -> tuple[Answer, _Location]:
        for _hop in range(_HOPS):
            try:
                answer = self._request(location, begin, end)
            except BrokenError:
                self._forget(location)
                raise
            if answer.status in (301, 302, 303, 307, 308):
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
        raise RefusedError(f"more than {_HOPS} redirects")

    def _forget(self, location: _Location) -> None:
        """Begin at the redirect again: another server of theirs may be better, and a signature may have expired."""
        if self._known is location:
            self._known = None

    def _request(self, location: _Location, begin: int, end: int) -> Answer:
        headers = {"User-Agent": "llama-fleet", "Range": f"bytes={begin}-{end - 1}", **({} if location.moved else self._headers)}
        return self._pool.ask(location.url, headers)

    def _next(self, answer: Answer, location: _Location) -> _Location:
        """Where a redirect leads, after a look at what it says of the file itself."""
        size, etag, target = (answer.header(name) for name in ("X-Linked-Size", "X-Linked-Etag", "Location"))
        answer.close()
        if size.isdigit() and int(size) != self._size:
            raise RefusedError(f"a file of {size} bytes")
        if _SHA256.fullmatch(etag.strip('"')) and etag.strip('"').lower() != self._sha256:
            raise RefusedError(f"a file with sha256 {etag.strip(chr(34)).lower()}")
        try:
            url = urllib.parse.urljoin(location.url, target)
        except ValueError:
            raise RefusedError("a redirect to nowhere") from None
        if not target:
            raise RefusedError("a redirect to nowhere")
        return _Location(url, location.moved or origin_of(url) != self.origin)

    def _judge(self, answer: Answer, location: _Location, begin: int, end: int) -> None:
        """Raise where the answer does not hold the bytes that were asked for."""
        if answer.status == 206:
            self._judge_range(answer, location, begin, end)
        elif answer.status == 200:
            self._judge_whole(answer)
        elif answer.status == 416:
            total = answer.header("Content-Range").rpartition("/")[2]
            raise RefusedError(self._describe(answer, location, begin, f"a file of {total} bytes" if total.isdigit() else "a shorter file"))
        else:
            raise _refusal(answer, location)

    def _judge_range(self, answer: Answer, location: _Location, begin: int, end: int) -> None:
        _require_plain(answer)
        told = _CONTENT_RANGE.fullmatch(answer.header("Content-Range").strip())
        if told is None:
            raise RefusedError("a partial answer that does not say which part")
        first, last, total = told.groups()
        if total not in ("*", str(self._size)):
            raise RefusedError(self._describe(answer, location, begin, f"a file of {total} bytes"))
        if int(first) != begin or not begin <= int(last) < end:
            raise RefusedError(f"bytes {first} to {last} instead of {begin} to {end - 1}")
        answer.end = int(last) + 1

    def _judge_whole(self, answer: Answer) -> None:
        _require_plain(answer)
        answer.whole = True
        answer.end = self._size
        if answer.length not in (None, self._size):
            raise RefusedError(impostor(answer.start(HEAD)) or f"a file of {answer.length} bytes")

    def _describe(self, answer: Answer, location: _Location, begin: int, otherwise: str) -> str:
        """What a file of another size is; its beginning tells."""
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


def _require_plain(answer: Answer) -> None:
    if answer.header("Content-Type").lower().startswith("text/html"):
        raise RefusedError("an HTML page instead of the file")
    if answer.header("Content-Encoding").lower() not in ("", "identity"):
        raise RefusedError(f"an answer in the encoding {answer.header('Content-Encoding')[:40]}")


def _refusal(answer: Answer, location: _Location) -> OriginError:
    status = answer.status
    code = re.sub(r"[^ -~]", "", answer.header("X-Error-Code"))[:60]
    reason = f"HTTP status {status}{f' ({code})' if code else ''}{f' from {bare(location.url)}' if location.moved else ''}"
    after = _wait_told(answer)
    limited = status == 403 and (after is not None or _LIMITED.search(answer.header("X-Error-Code") + answer.header("X-Error-Message")))
    if status in (429, 503) or limited:
        return BusyError(reason, after)
    if location.moved and status in (401, 403, 410):
        return ExpiredError(reason)
    return BrokenError(reason) if status >= 500 or status in (408, 425) else RefusedError(reason)


def _wait_told(answer: Answer) -> float | None:
    """Seconds to wait as the answer tells by Retry-After (seconds or a date) or by what is left of its limit."""
    after = answer.header("Retry-After").strip()
    if after.isdigit():
        return float(after)
    if after:
        then = _time(after)
        now = _time(answer.header("Date")) or dt.datetime.now(tz=dt.timezone.utc)  # its own clock, where it tells it
        return max(0.0, (then - now).total_seconds()) if then else None
    limit = answer.header("RateLimit")
    left = re.search(r"\bt=(\d+)", limit)
    return float(left.group(1)) if left and re.search(r"\br=0\b", limit) else None


def _time(text: str) -> dt.datetime | None:
    try:
        time = email.utils.parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError):
        return None
    return time if time.tzinfo else time.replace(tzinfo=dt.timezone.utc)


def _without_login(url: str) -> tuple[str, dict[str, str]]:
    """``url`` without a user and password, and the header that takes their place."""
    parts = urllib.parse.urlsplit(url)
    login, at, host = parts.netloc.rpartition("@")
    if not at:
        return url, {}
    token = base64.b64encode(urllib.parse.unquote(login).encode()).decode()
    return urllib.parse.urlunsplit(parts._replace(netloc=host)), {"Authorization": f"Basic {token}"}
