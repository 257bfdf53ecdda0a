# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The first process of a container that has no other init: hands signals on, and buries the dead.

llama-server knows what to do with a signal once its model is loaded. Until then the kernel would end it, but spares the
first process of a container.
"""

import contextlib
import os
import signal
import typing

AWAITED = (signal.SIGCHLD, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


def take_over() -> None:
    """Returns in a child; this process stays until that one ends, and ends as it did."""
    # None gets lost: they wait until someone takes them.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_BLOCK, AWAITED)
    child = os.fork()
    if child:
        _stay(child)
    _to_foreground()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, AWAITED)


def _stay(child: int) -> typing.NoReturn:
    # No handlers: one that comes a moment before a call that waits would not end that call.
    while True:
        number = signal.sigwait(AWAITED)
        if number == signal.SIGCHLD:
            _bury(child)
        else:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, number)


def _bury(child: int) -> None:
    """All that have died, for one signal may stand for several."""
    process = -1
    while process:
        process, status = os.waitpid(-1, os.WNOHANG)
        if process == child:
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else 128 - code)


def _to_foreground() -> None:
    """A group of its own, to which a terminal sends what is typed: else a Ctrl-C would come twice, which
    llama-server takes for haste.
    """
    os.setpgid(0, 0)
    with contextlib.suppress(OSError):  # no terminal
        before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
        try:
            os.tcsetpgrp(0, os.getpgrp())
        finally:
            signal.signal(signal.SIGTTOU, before)
