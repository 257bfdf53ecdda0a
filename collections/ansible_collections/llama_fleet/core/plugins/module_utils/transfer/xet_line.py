# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Read ranges of one file in order through the native package hf_xet, several at once, with a stall limit."""

from __future__ import annotations

import atexit
import collections
import contextlib
import dataclasses
import functools
import importlib
import os
import queue
import re
import shutil
import sys
import tempfile
import threading
import time
import typing

_AT_ONCE = 4  # ranges in flight
_LEAST, _MOST = 1 << 20, 16 << 20  # bytes per range; with hf_xet's buffers, at most about 250 MB of memory
_QUICK, _SLOW = 1.0, 8.0  # seconds per range, to adapt its length to the connection
_BUFFER = 16_000_000
# By default hf_xet uses gigabytes of buffers and reports every transfer to the Hub.
_SETTINGS: dict[str, object] = {
    "telemetry.enabled": False,
    "reconstruction.download_buffer_size": 2 * _BUFFER,
    "reconstruction.download_buffer_perfile_size": _BUFFER,
    "reconstruction.download_buffer_limit": 3 * _BUFFER,
    "reconstruction.min_prefetch_buffer": _BUFFER,
    "reconstruction.min_reconstruction_fetch_size": _BUFFER,
    "reconstruction.max_reconstruction_fetch_size": 2 * _BUFFER,
}


class XetError(Exception):
    """Xet cannot fetch the file: hf_xet is missing, the file is not in Xet, or the transfer failed or stalled.

    The message is a clause without a full stop.
    """


@dataclasses.dataclass(frozen=True)
class Asset:
    """A file in Xet: its key, the address and headers for its tokens, and its store.

    ``token`` is the first token for the store, valid until ``expiry``, in seconds since 1970.
    """

    key: str
    route: str
    headers: typing.Mapping[str, str] = dataclasses.field(repr=False)
    store: str
    token: str = dataclasses.field(repr=False)
    expiry: int


@functools.lru_cache(maxsize=1)
def native_module() -> typing.Any:
    """Return the module hf_xet, configured not to write logs and caches into the user's home."""
    if "HF_XET_CACHE" not in os.environ:  # hf_xet reads it on import
        os.environ["HF_XET_CACHE"] = tempfile.mkdtemp(prefix="llama-fleet-xet-")
        atexit.register(shutil.rmtree, os.environ["HF_XET_CACHE"], ignore_errors=True)
    try:
        native = importlib.import_module("hf_xet")
    except ImportError as error:
        fix = f"'{sys.executable} -m pip install hf_xet' installs it if there is a wheel for the platform"
        raise XetError(f"Xet needs the package hf_xet, which cannot be imported ({error}; {fix})") from error
    if not hasattr(native, "XetSession"):
        raise XetError(
            f"Xet needs hf_xet 1.8, and the host has an older one ('{sys.executable} -m pip install --upgrade hf_xet' "
            f"updates it)"
        )
    return native


def short(error: BaseException, token: str) -> str:
    """Return the first line of ``error`` without its secrets: the token and the queries of signed URLs."""
    line = (str(error).splitlines() or [""])[0]
    line = re.sub(r"\?\S+", "", line.replace(token, "…") if token else line)
    return f"{type(error).__name__}: {line[:200]}".rstrip(": ")


class Line:
    """A native session.

    Its calls may block forever, so each runs in its own thread and is waited for only for a limited time.
    """

    def __init__(self, native: typing.Any, asset: Asset, token: str, stall_seconds: float) -> None:
        self._native = native
        self._asset = asset
        self._token = token
        self._stall = stall_seconds
        self._results: queue.Queue[tuple[int, typing.Any]] = queue.Queue()
        self._length = _LEAST
        self._session: typing.Any = None
        self._group: typing.Any = None

    @contextlib.contextmanager
    def opened(self) -> typing.Iterator[None]:
        """Open the session; any exception inside the context wakes the threads that wait for bytes."""
        try:
            self._start(0, self._open)
            self._group = self._result()[1]
            yield
        except BaseException:
            self._abort()
            raise

    def _open(self) -> typing.Any:
        config = self._native.XetConfig()
        # A hanging connection is then replaced before the stall limit.
        for name, value in {**_SETTINGS, "client.read_timeout": f"{max(1, int(self._stall / 3))}s"}.items():
            with contextlib.suppress(ValueError):  # another version of hf_xet lacks the setting
                config = config.with_config(name, value)
        self._session = self._native.XetSession(config)
        return self._session.new_download_stream_group(
            endpoint=self._asset.store,
            token=self._asset.token,
            token_expiry_unix_secs=self._asset.expiry,
            token_refresh_url=self._asset.route,
            token_refresh_headers=self._asset.headers,
        )

    def _abort(self) -> None:
        """Wake the threads that wait for bytes; nothing milder works."""
        if self._session is not None:
            thread = threading.Thread(target=self._session.sigint_abort, daemon=True)
            thread.start()
            thread.join(5)

    def in_order(self, missing: typing.Iterable[tuple[int, int]]) -> typing.Iterator[tuple[int, bytes]]:
        """Yield the bytes of the ranges ``missing``, each with its position, while later ranges are being fetched."""
        todo = collections.deque(missing)
        waiting: collections.deque[int] = collections.deque()
        arrived: dict[int, list[bytes]] = {}
        while todo or waiting:
            while todo and len(waiting) < _AT_ONCE:
                begin, end = todo.popleft()
                cut = min(end, begin + self._length)
                if cut < end:
                    todo.appendleft((cut, end))
                waiting.append(begin)
                self._start(begin, functools.partial(self._read, begin, cut))
            if waiting[0] not in arrived:
                begin, (chunks, seconds) = self._result()
                arrived[begin] = chunks
                self._adapt(seconds)
                continue
            position = waiting.popleft()
            for chunk in arrived.pop(position):
                yield position, chunk
                position += len(chunk)

    def _adapt(self, seconds: float) -> None:
        if seconds < _QUICK:
            self._length = min(2 * self._length, _MOST)
        elif seconds > _SLOW:
            self._length = max(self._length // 2, _LEAST)

    def _read(self, begin: int, end: int) -> tuple[list[bytes], float]:
        began = time.monotonic()
        info = self._native.XetFileInfo(self._asset.key, None)
        chunks = list(self._group.download_stream(info, start=begin, end=end))
        return chunks, time.monotonic() - began

    def _start(self, number: int, act: typing.Callable[[], typing.Any]) -> None:
        def work() -> None:
            try:
                self._results.put((number, act()))
            except BaseException as error:  # noqa: BLE001 - a panic in native code is not an Exception
                self._results.put((number, error))

        threading.Thread(target=work, name="xet", daemon=True).start()

    def _result(self) -> tuple[int, typing.Any]:
        """Return the result of the next thread to end. Raises XetError if it failed or none ends in time."""
        try:
            number, result = self._results.get(timeout=self._stall)
        except queue.Empty:
            raise XetError(f"Xet brought nothing for {self._stall:.0f} seconds") from None
        if isinstance(result, XetError):
            raise result
        if isinstance(result, BaseException):
            raise XetError(f"Xet failed ({short(result, self._token)})") from None
        return number, result
