# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Lend private temporary folders, and remove those that killed runs left behind."""

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
# Another run may remove a folder between its creation and its lock; then a new one is made.
_TRIES = 10


@contextlib.contextmanager
def scratch() -> typing.Iterator[pathlib.Path]:
    """Lend a folder that only this user can read, and remove it afterwards.

    First removes the folders that killed runs of this user left behind.
    """
    _remove_abandoned(pathlib.Path(tempfile.gettempdir()))
    folder, descriptor = _locked_folder()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def _locked_folder() -> tuple[pathlib.Path, int]:
    """Make a folder and lock it until its descriptor is closed or this process ends."""
    for _try in range(_TRIES):
        folder = pathlib.Path(tempfile.mkdtemp(prefix=_PREFIX))
        with contextlib.suppress(FileNotFoundError):
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            if _lock(descriptor) and folder.is_dir():
                return folder, descriptor
            os.close(descriptor)
    raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), str(folder))


def _lock(descriptor: int) -> bool:
    """Lock ``descriptor``; return False if another process holds the lock.

    A file system without locks counts as locked: no run removes folders there.
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
    """Remove ``folder`` if it belongs to this user and no process holds its lock; raises OSError if it cannot."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        status = os.fstat(descriptor)
        # Root also removes the unlocked folders of the build user and of other users.
        if os.geteuid() not in (0, status.st_uid) or stat.S_IMODE(status.st_mode) & 0o022:
            return
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder)
    finally:
        os.close(descriptor)
