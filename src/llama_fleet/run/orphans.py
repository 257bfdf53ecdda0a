# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""End the processes that an interrupted run left on this machine.

Background jobs have their own sessions, but inherit the run's environment, which marks them. After a SIGKILL the next
run ends them and removes the files with the run's variables.
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

# Set in the environment of every process of a run.
VARIABLE = "LLAMA_FLEET_RUN"
_PREFIX = "llama-fleet-run-"
# The file in a run's folder that contains its marker and is locked while the run lives.
_LIFE = "life"


def new_marker() -> str:
    """Return an assignment ``NAME=VALUE`` that is unique to a run, for the environment of its processes."""
    return f"{VARIABLE}={uuid.uuid4().hex}"


@contextlib.contextmanager
def private_folder(marker: str) -> Iterator[pathlib.Path]:
    """Create a folder for the files of a run and remove it at the end; after a SIGKILL the next run removes it.

    Also ends the processes that killed runs left.
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
        # Skip folders of other users, whatever their content.
        with contextlib.suppress(OSError):
            if folder.lstat().st_uid == os.geteuid() and not folder.is_symlink():
                _remove_if_abandoned(folder)


def _remove_if_abandoned(folder: pathlib.Path) -> None:
    with (folder / _LIFE).open(encoding="ascii", errors="replace") as life:
        fcntl.flock(life, fcntl.LOCK_EX | fcntl.LOCK_NB)  # raises OSError if the run lives
        marker = life.read()
        # Empty while a run starts. Part of a marker could match other processes.
        if re.fullmatch(rf"{VARIABLE}=[0-9a-f]{{32}}", marker):
            kill(marker)
            shutil.rmtree(folder)


def interrupt(marker: str, program: str) -> None:
    """Send SIGINT to the processes of a run that execute ``program``."""
    for process in _processes(marker):
        if program in _read(process / "cmdline"):
            _send(process, signal.SIGINT)


def kill(marker: str, patience: float = 5.0) -> None:
    """Send SIGKILL to every process of a run until none is left, for at most ``patience`` seconds."""
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
        return ""  # it ended meanwhile, or belongs to another user


def _send(process: pathlib.Path, number: signal.Signals) -> None:
    try:
        os.kill(int(process.name), number)
    except (ProcessLookupError, PermissionError):
        return
