# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Ends what an interrupted run has left on this machine: background jobs have sessions of their own, but they inherit
the environment.

One that was killed could end nothing: the next run does, and removes the files with the run's variables.
"""

import contextlib
import fcntl
import os
import pathlib
import re
import shutil
import signal
import tempfile
import time
import uuid
from collections.abc import Iterator

# The variable that every process of a run carries.
VARIABLE = "LLAMA_FLEET_RUN"
_PREFIX = "llama-fleet-run-"
# In a run's folder: has its marker, and is locked for as long as it lives.
_LIFE = "life"


def new_marker() -> str:
    """What the environment of one run's processes has, and no other's."""
    return f"{VARIABLE}={uuid.uuid4().hex}"


@contextlib.contextmanager
def private_folder(marker: str) -> Iterator[pathlib.Path]:
    """A folder for the files of a run, which the next run removes where this one is killed, together with what that
    one has started.
    """
    _remove_abandoned()
    with tempfile.TemporaryDirectory(prefix=_PREFIX) as name:
        folder = pathlib.Path(name)
        with (folder / _LIFE).open("w", encoding="ascii") as life:
            fcntl.flock(life, fcntl.LOCK_EX)
            life.write(marker)
            life.flush()
            yield folder


def _remove_abandoned() -> None:
    for folder in pathlib.Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        # Nobody else's, whatever it says.
        with contextlib.suppress(OSError):
            if folder.lstat().st_uid == os.geteuid() and not folder.is_symlink():
                _remove_if_abandoned(folder)


def _remove_if_abandoned(folder: pathlib.Path) -> None:
    with (folder / _LIFE).open(encoding="ascii", errors="replace") as life:
        fcntl.flock(life, fcntl.LOCK_EX | fcntl.LOCK_NB)  # an OSError where it lives
        marker = life.read()
        # Without one it is just beginning. A part of one would be other processes' too.
        if re.fullmatch(rf"{VARIABLE}=[0-9a-f]{{32}}", marker):
            kill(marker)
            shutil.rmtree(folder)


def interrupt(marker: str, program: str) -> None:
    """Send SIGINT to those processes of a run that are ``program``."""
    for process in _processes(marker):
        if program in _read(process / "cmdline"):
            _send(process, signal.SIGINT)


def kill(marker: str, patience: float = 5.0) -> None:
    """SIGKILL to every process of a run, until there is none: one may start another meanwhile."""
    deadline = time.monotonic() + patience
    while (processes := list(_processes(marker))) and time.monotonic() < deadline:
        for process in processes:
            _send(process, signal.SIGKILL)
        time.sleep(0.05)


def _processes(marker: str) -> Iterator[pathlib.Path]:
    for process in pathlib.Path("/proc").iterdir():
        if (
            process.name.isdigit()
            and int(process.name) != os.getpid()
            and marker in _read(process / "environ").split("\0")
        ):
            yield process


def _read(path: pathlib.Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""  # ended meanwhile, or another user's


def _send(process: pathlib.Path, number: signal.Signals) -> None:
    try:
        os.kill(int(process.name), number)
    except (ProcessLookupError, PermissionError):
        return
