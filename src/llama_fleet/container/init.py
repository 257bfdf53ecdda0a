# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The first process of a container that has no other init: hands signals on, and buries the dead.

llama-server knows what to do with a signal once its model is loaded. Until then the kernel would end it, but spares the first process of a container.
"""

import contextlib
import os
import signal
import types
import typing

FORWARDED = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


def take_over() -> None:
    """Returns in a child; this process stays until that one ends, and ends as it did."""
    # None gets lost: they wait until someone can take them.
    signal.pthread_sigmask(signal.SIG_BLOCK, FORWARDED)
    child = os.fork()
    if child:
        _stay(child)
    _to_foreground()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, FORWARDED)


def _stay(child: int) -> typing.NoReturn:
    def forward(number: int, _frame: types.FrameType | None) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, number)

    for number in FORWARDED:
        signal.signal(number, forward)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, FORWARDED)
    while True:
        process, status = os.wait()
        if process == child:
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else 128 - code)


def _to_foreground() -> None:
    """A group of its own, to which a terminal sends what is typed: else a Ctrl-C would come twice, which llama-server takes for haste."""
    os.setpgid(0, 0)
    with contextlib.suppress(OSError):  # no terminal
        before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
        try:
            os.tcsetpgrp(0, os.getpgrp())
        finally:
            signal.signal(signal.SIGTTOU, before)
