"""Run programs with their output passed on as it arrives; end a silent one with all its children."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import time
import typing

if typing.TYPE_CHECKING:
    import pathlib

# In seconds: time to clean up after an interrupt, the polling interval, and time for the last output after the end.
GRACE = 30.0
_LOOK = 0.5
_LAST_WORDS = 5.0


class SilentError(Exception):
    """A program was silent for too long and was ended with its children."""


def run(
    words: typing.Sequence[str],
    cwd: pathlib.Path,
    environment: typing.Mapping[str, str],
    silence: float,
    show: typing.Callable[[bytes], None],
    grace: float = GRACE,
) -> int:
    """Run ``words``, pass its output (stderr too) to ``show``, and return its exit status.

    A program may take as long as it prints something. One that is silent for ``silence`` seconds is interrupted with
    its process group, killed ``grace`` seconds later, and SilentError is raised. Children that keep the output open
    after the program has ended are not waited for.
    """
    with subprocess.Popen(
        words,
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as process:
        try:
            if not _follow(process, silence, show):
                raise SilentError(f"said nothing for {silence:g} s and was ended with its children")
        except BaseException:
            _end(process, grace, show)
            raise
        return process.wait()


def _follow(process: subprocess.Popen[bytes], silence: float, show: typing.Callable[[bytes], None]) -> bool:
    """Pass on output until the program ends; return False if it falls silent before that."""
    output = typing.cast("typing.IO[bytes]", process.stdout).fileno()
    heard, last_words, is_open = time.monotonic(), float("inf"), True
    while (now := time.monotonic()) - heard < silence:
        if process.poll() is not None:
            last_words = min(last_words, now + _LAST_WORDS)
        if is_open and now < last_words and select.select([output], [], [], _LOOK)[0]:
            chunk = os.read(output, 1 << 16)
            is_open, heard = bool(chunk), time.monotonic()
            show(chunk)
        elif process.poll() is not None:
            return True
        elif not is_open:
            time.sleep(_LOOK)
    return False


def _end(process: subprocess.Popen[bytes], grace: float, show: typing.Callable[[bytes], None]) -> None:
    """Interrupt the process group, so that tests can clean up, and kill what is left of it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGINT)
        _follow(process, grace, show)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
