# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Hash a file whose bytes arrive from several threads."""

from __future__ import annotations

import contextlib
import hashlib
import threading
import typing


class RunningHash:
    """The SHA-256 of a file's bytes before ``upto``.

    A thread that has just written the next bytes adds them while they are in memory.
    """

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self._turn = threading.Lock()
        self.upto = 0

    @property
    def busy(self) -> bool:
        """Return whether a thread is adding bytes."""
        return self._turn.locked()

    @contextlib.contextmanager
    def turn(self, position: int) -> typing.Iterator[bool]:
        """Yield whether the caller may add bytes at ``position``: they are next, and no other thread is adding."""
        mine = self._turn.acquire(blocking=False)
        if mine and position != self.upto:  # let the thread with the next bytes have the lock
            self._turn.release()
            mine = False
        try:
            yield mine
        finally:
            if mine:
                self._turn.release()

    def add(self, block: memoryview) -> None:
        self._digest.update(block)
        self.upto += len(block)

    def hexdigest(self) -> str:
        return self._digest.hexdigest()
