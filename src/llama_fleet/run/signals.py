# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Handle the signals that ask a command to end."""

import contextlib
import os
import signal
import stat
import types
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def caught(handle: Callable[[int], None]) -> Iterator[None]:
    """Pass SIGINT, SIGTERM and SIGHUP to ``handle`` inside the context. An ignored SIGHUP, as below nohup, stays
    ignored.
    """
    hangs_up = [signal.SIGHUP] if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN else []

    def handler(number: int, _frame: types.FrameType | None) -> None:
        if number == signal.SIGHUP:
            _leave_terminal()
        handle(number)

    former = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM, *hangs_up)}
    try:
        yield
    finally:
        for number, before in former.items():
            signal.signal(number, before)


def _leave_terminal() -> None:
    """Redirect the standard streams to /dev/null, because writing to a closed terminal fails during cleanup."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        if stat.S_ISCHR(os.fstat(descriptor).st_mode):
            os.dup2(nowhere, descriptor)
    os.close(nowhere)
