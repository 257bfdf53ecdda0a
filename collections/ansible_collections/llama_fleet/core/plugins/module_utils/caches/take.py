# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Take a file out of another tool's cache: link, clone or copy it, and verify the bytes that are used."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import stat
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.host.files import CHUNK, sha256_of_open

if typing.TYPE_CHECKING:
    import pathlib

    from ansible_collections.llama_fleet.core.plugins.module_utils.caches.lookup import Copy

_CLONE = 0x40049409  # FICLONE of linux/fs.h: share the blocks of another file until one of both is written
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
Seen = typing.Callable[[int], None]


class CacheError(Exception):
    """A cached file is not the wanted one; the message is a noun phrase."""


def take(copy: Copy, part: pathlib.Path, sha256: str, seen: Seen) -> None:
    """Put the bytes of ``copy`` at ``part``, replacing what is there.

    ``seen`` gets the number of bytes that are verified. Raises CacheError if the cached file cannot be read or has
    another sha256, and OSError if ``part`` cannot be written. Both leave no ``part``.
    """
    part.parent.mkdir(parents=True, exist_ok=True)
    part.unlink(missing_ok=True)
    try:
        with _opened(copy) as source:
            linked = is_safe(os.fstat(source.fileno())) and _link(source, part)
            actual = sha256_of_open(source, seen) if linked else _copied(source, part, copy.size, seen)
        if actual != sha256:
            raise CacheError(f"other bytes than its name says (sha256 {actual})")
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def is_safe(status: os.stat_result) -> bool:
    """Return whether a hard link to a file is as safe as a copy.

    It is if only this user, who could change a copy as well, can write to the file, and every user can read it.
    """
    return status.st_uid == os.geteuid() and not status.st_mode & _OTHERS_WRITE and bool(status.st_mode & stat.S_IROTH)


def costs_nothing(copy: Copy, folder: pathlib.Path) -> bool:
    """Return whether ``copy`` can be linked into ``folder``, which exists, so that it takes no disk space."""
    try:
        status = copy.status()
        return is_safe(status) and status.st_dev == os.stat(folder).st_dev
    except OSError:
        return False


@contextlib.contextmanager
def _opened(copy: Copy) -> typing.Iterator[typing.BinaryIO]:
    try:
        source = copy.open()
    except OSError as error:
        raise CacheError(f"a file that cannot be read ({error.strerror})") from error
    with source:
        yield source


def _link(source: typing.BinaryIO, part: pathlib.Path) -> bool:
    """Link the open file, whatever its name means now, and return whether that succeeded."""
    try:
        # Only with a folder's descriptor, which an absolute path does not use, does Python follow the link in /proc.
        os.link(f"/proc/self/fd/{source.fileno()}", part, src_dir_fd=source.fileno(), follow_symlinks=True)
    except OSError:  # another file system, or one without links
        return False
    return True


def _copied(source: typing.BinaryIO, part: pathlib.Path, size: int, seen: Seen) -> str:
    """Copy at most ``size`` bytes and return the sha256 of what was written. Raises CacheError and OSError."""
    descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    with os.fdopen(descriptor, "w+b") as target:
        digest = sha256_of_open(target, seen) if _clone(source, target) else _written(source, target, size, seen)
        target.flush()
        os.fsync(target.fileno())
    return digest


def _clone(source: typing.BinaryIO, target: typing.BinaryIO) -> bool:
    try:
        fcntl.ioctl(target.fileno(), _CLONE, source.fileno())
    except OSError:
        return False
    return True


def _written(source: typing.BinaryIO, target: typing.BinaryIO, size: int, seen: Seen) -> str:
    digest, count = hashlib.sha256(), 0
    while count < size:
        try:
            chunk = source.read(min(CHUNK, size - count))
        except OSError as error:
            raise CacheError(f"a file that cannot be read ({error.strerror})") from error
        if not chunk:
            break
        target.write(chunk)
        digest.update(chunk)
        count += len(chunk)
        seen(count)
    return digest.hexdigest()
