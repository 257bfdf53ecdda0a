# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Who on the network answers, asked side by side and never longer than a time limit: a firewall that drops packets answers nobody."""

from __future__ import annotations

import dataclasses
import email.utils
import http.client
import re
import threading
import time
import typing
import urllib.error
import urllib.request

from ansible_collections.llama_fleet.core.plugins.module_utils.download import SameOriginRedirects
from ansible_collections.llama_fleet.core.plugins.module_utils.http_origin import bare

LARGEST = 20 << 20  # of a listing


@dataclasses.dataclass(frozen=True)
class Reply:
    """An answer: ``size`` is the whole file's in bytes, 0 where it does not tell; ``skew`` is how far this clock is ahead of the server's, in seconds."""

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

    def __call__(self, url: str, headers: typing.Mapping[str, str] | None = None, listing: bool = False) -> Reply:
        """The answer, whatever its status; of a ``listing`` all of it, of a file its first byte. Raises SilentError."""


def asker(limit: float) -> Ask:
    """The real one; ``limit`` is how many seconds may pass without a byte."""

    def ask(url: str, headers: typing.Mapping[str, str] | None = None, listing: bool = False) -> Reply:
        part = {} if listing else {"Range": "bytes=0-0"}
        try:
            request = urllib.request.Request(url, headers={"User-Agent": "llama-fleet", **part, **(headers or {})})
            with _opened(request, limit) as answer:
                return _reply(answer.status, answer.headers, answer.read(LARGEST if listing else 1))
        except urllib.error.HTTPError as error:
            with error:
                return _reply(error.code, error.headers, b"")
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise SilentError(f"no answer from {_shown(url)} ({_reason(error)}){via(url)}") from None  # its own text can hold a header

    return ask


def _shown(url: str) -> str:
    try:
        return bare(url)
    except ValueError:
        return "an address that is none"


def _opened(request: urllib.request.Request, limit: float) -> typing.ContextManager[typing.Any]:
    opened: typing.ContextManager[typing.Any] = urllib.request.build_opener(SameOriginRedirects()).open(request, timeout=limit)
    return opened


def _reply(status: int, headers: typing.Any, body: bytes) -> Reply:
    told = headers["X-Linked-Size"] or (headers["Content-Range"] or "").rpartition("/")[2] or headers["Content-Length"] or ""
    code = re.sub(r"[^A-Za-z]", "", headers["X-Error-Code"] or "")
    return Reply(status, body, headers["Content-Type"] or "", int(told) if told.isdigit() else 0, _skew(headers["Date"]), code)


def _skew(date: str | None) -> float | None:
    try:
        return time.time() - email.utils.parsedate_to_datetime(date).timestamp() if date else None
    except (ValueError, TypeError, IndexError):
        return None


def _reason(error: Exception) -> str:
    if isinstance(error, ValueError):  # its text can hold a header, and so a token
        return "an address or a header that HTTP does not allow"
    reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
    return (str(reason) or type(error).__name__).splitlines()[0][:200]


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
    """What each task returned; those that did not end within ``limit`` seconds are left out and end with the process."""
    done: dict[Key, Value] = {}

    def do(key: Key, task: typing.Callable[[], Value]) -> None:
        done[key] = task()

    # Not a pool: it waits for its threads when the process ends, and a name that is not resolved keeps one longer than any time limit.
    threads = [threading.Thread(target=do, args=item, daemon=True) for item in tasks.items()]
    for thread in threads:
        thread.start()
    end = time.monotonic() + limit
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    return dict(done)
