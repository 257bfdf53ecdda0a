# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Private folders for what a run needs for a moment: gone when it ends, and where it was killed, when the next one
begins.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import pathlib
import shutil
import stat
import tempfile
import typing

_PREFIX = "llama-fleet-scratch-"
# Another run may take a folder for abandoned in the moment between its making and its lock: then another one is made.
_TRIES = 10


@contextlib.contextmanager
def scratch() -> typing.Iterator[pathlib.Path]:
    """Lend a folder that only this user can look into; remove it afterwards, and before that what killed runs of
    this user left.
    """
    _remove_abandoned(pathlib.Path(tempfile.gettempdir()))
    folder, descriptor = _locked_folder()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def _locked_folder() -> tuple[pathlib.Path, int]:
    """Make a folder and lock it for as long as its descriptor is open, which is as long as this process lives."""
    for _try in range(_TRIES):
        folder = pathlib.Path(tempfile.mkdtemp(prefix=_PREFIX))
        with contextlib.suppress(FileNotFoundError):
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            if _lock(descriptor) and folder.is_dir():
                return folder, descriptor
            os.close(descriptor)
    raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), str(folder))


def _lock(descriptor: int) -> bool:
    """Return whether nobody else has the lock: on a file system without locks nobody takes a folder for abandoned
    either.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return not isinstance(error, BlockingIOError)
    return True


def _remove_abandoned(place: pathlib.Path) -> None:
    for folder in place.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            _remove_if_abandoned(folder)


def _remove_if_abandoned(folder: pathlib.Path) -> None:
    """Remove ``folder`` where it is this user's and nobody holds its lock; raises OSError where one of that is not
    so.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        found = os.fstat(descriptor)
        # Root removes those of a build's user as well, and of whoever leaves one that nobody holds.
        if os.geteuid() not in (0, found.st_uid) or stat.S_IMODE(found.st_mode) & 0o022:
            return
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder)
    finally:
        os.close(descriptor)
