# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Act as the init process of a container: forward signals and reap processes.

llama-server handles signals only once its model is loaded. Until then the kernel's default action ends it, but not if
it is PID 1 of a container.
"""

import contextlib
import os
import signal
import typing

AWAITED = (signal.SIGCHLD, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


def take_over() -> None:
    """Return in a child process; this process stays as init and exits with the child's status."""
    # Blocked signals stay pending until sigwait takes them.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_BLOCK, AWAITED)
    child = os.fork()
    if child:
        _stay(child)
    _to_foreground()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, AWAITED)


def _stay(child: int) -> typing.NoReturn:
    # No handlers: a signal just before a blocking call would not interrupt it.
    while True:
        number = signal.sigwait(AWAITED)
        if number == signal.SIGCHLD:
            _bury(child)
        else:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, number)


def _bury(child: int) -> None:
    """Reap all dead processes, because one SIGCHLD may stand for several."""
    process = -1
    while process:
        process, status = os.waitpid(-1, os.WNOHANG)
        if process == child:
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else 128 - code)


def _to_foreground() -> None:
    """Become a process group in the terminal's foreground.

    Otherwise Ctrl-C would arrive twice, and llama-server exits at once on the second.
    """
    os.setpgid(0, 0)
    with contextlib.suppress(OSError):  # no terminal
        before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
        try:
            os.tcsetpgrp(0, os.getpgrp())
        finally:
            signal.signal(signal.SIGTTOU, before)
