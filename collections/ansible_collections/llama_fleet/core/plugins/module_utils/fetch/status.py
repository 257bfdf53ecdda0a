# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Interpret the status and headers of an answer: refused, broken, busy, expired, or not the file."""

from __future__ import annotations

import datetime as dt
import email.utils
import re
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.rules import (
    BrokenError,
    OriginError,
    Place,
    RefusedError,
    bare,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.plain_text import printable

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.pool import Answer

REDIRECTS = (301, 302, 303, 307, 308)
HOPS = 10
_LIMITED = re.compile(r"rate.?limit|too many|throttl", re.IGNORECASE)


class BusyError(OriginError):
    """Too many requests. ``after`` is the number of seconds to wait, or None if the answer does not say."""

    def __init__(self, reason: str, after: float | None) -> None:
        super().__init__(reason)
        self.after = after


class ExpiredError(OriginError):
    """The signature of a location has expired."""


def whole_number(text: str) -> int | None:
    """Return the number in a header, or None if it is invalid or larger than any file or time."""
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text) else None


def impostor(first: bytes) -> str:
    """Describe a body that replaces the file; empty if it may be the file."""
    start = first[:512].lstrip().lower()
    if start.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer instead of the file"
    return "an HTML page instead of the file" if start.startswith((b"<!doctype html", b"<html")) else ""


def require_plain(answer: Answer) -> None:
    """Raise RefusedError if a body is an HTML page or compressed."""
    if answer.header("Content-Type").lower().startswith("text/html"):
        raise RefusedError("an HTML page instead of the file")
    require_unpacked(answer)


def require_unpacked(answer: Answer) -> None:
    """Raise RefusedError if a body is compressed, which was not requested."""
    if answer.header("Content-Encoding").lower() not in ("", "identity"):
        raise RefusedError(f"an answer in the encoding {printable(answer.header('Content-Encoding'), 40)}")


def refusal(answer: Answer, place: Place) -> OriginError:
    """Return the error for an answer that is neither a redirect nor a file."""
    error = _refusal(answer, place)
    error.status, error.via = answer.status, answer.via
    return error


def _refusal(answer: Answer, place: Place) -> OriginError:
    status = answer.status
    code = re.sub(r"[^ -~]", "", answer.header("X-Error-Code"))[:60]
    reason = f"HTTP status {status}{f' ({code})' if code else ''}{f' from {bare(place.url)}' if place.moved else ''}"
    after = _requested_wait(answer)
    limited = status == 403 and (
        after is not None or _LIMITED.search(answer.header("X-Error-Code") + answer.header("X-Error-Message"))
    )
    if status in (429, 503) or limited:
        return BusyError(reason, after)
    if place.moved and status in (401, 403, 410):
        return ExpiredError(reason)
    return BrokenError(reason) if status >= 500 or status in (408, 425) else RefusedError(reason)


def _requested_wait(answer: Answer) -> float | None:
    """Return the seconds to wait by Retry-After (seconds or a date) or by the RateLimit header."""
    after = answer.header("Retry-After").strip()
    seconds = whole_number(after)
    if seconds is not None:
        return float(seconds)
    if after:
        then = _time(after)
        now = _time(answer.header("Date")) or dt.datetime.now(tz=dt.timezone.utc)  # prefer the server's clock
        return max(0.0, (then - now).total_seconds()) if then else None
    limit = answer.header("RateLimit")
    left = re.search(r"\bt=([0-9]{1,18})\b", limit)
    return float(left.group(1)) if left and re.search(r"\br=0\b", limit) else None


def _time(text: str) -> dt.datetime | None:
    try:
        time = email.utils.parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError):
        return None
    return time if time.tzinfo else time.replace(tzinfo=dt.timezone.utc)
