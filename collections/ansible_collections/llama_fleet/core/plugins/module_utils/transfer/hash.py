# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The sha256 of a file whose bytes come from several threads."""

from __future__ import annotations

import contextlib
import hashlib
import threading
import typing


class RunningHash:
    """The sha256 of a file's bytes before ``upto``.

    Whoever has written the next ones adds them while they are at hand.
    """

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self._turn = threading.Lock()
        self.upto = 0

    @property
    def busy(self) -> bool:
        """Whether a thread is at it."""
        return self._turn.locked()

    @contextlib.contextmanager
    def turn(self, position: int) -> typing.Iterator[bool]:
        """Whether it is the caller's turn to add what begins at ``position``: it is the next, and nobody else is at
        it.
        """
        mine = self._turn.acquire(blocking=False)
        if mine and position != self.upto:  # then another thread may be the one
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
