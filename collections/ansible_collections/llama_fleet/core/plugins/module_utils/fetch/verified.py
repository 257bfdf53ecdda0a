# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Hash a file and use exactly the bytes that were hashed, even if another process writes at its path."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.host.disk import disk_problems
from ansible_collections.llama_fleet.core.plugins.module_utils.host.files import CHUNK

if typing.TYPE_CHECKING:
    import pathlib

Seen = typing.Callable[[int], None]


def opened(path: pathlib.Path, scratch: pathlib.Path, seen: Seen = lambda _count: None) -> tuple[typing.IO[bytes], str]:
    """Open ``path`` once; return the open file, at its beginning, and the SHA-256 of its content.

    A file that users other than root and this one can write is copied into an unnamed file below ``scratch``, because
    its bytes could change even under an open descriptor. ``seen`` gets the bytes read so far. Raises OSError if the
    file cannot be read or is not a regular file.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    file = open(descriptor, "rb")  # noqa: SIM115  # because the caller closes it
    copy: typing.IO[bytes] | None = None
    try:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError(None, "no regular file", str(path))
        if not _is_only_ours(status):
            scratch.mkdir(parents=True, exist_ok=True)
            copy = tempfile.TemporaryFile(dir=scratch)  # noqa: SIM115  # because the caller closes it
        sha256 = _hashed(file, copy, scratch, seen)
    except BaseException:
        file.close()
        if copy is not None:
            copy.close()
        raise
    if copy is None:
        return file, sha256
    file.close()
    return copy, sha256


def _is_only_ours(status: os.stat_result) -> bool:
    return status.st_uid in (0, os.geteuid()) and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _hashed(file: typing.IO[bytes], copy: typing.IO[bytes] | None, scratch: pathlib.Path, seen: Seen) -> str:
    digest = hashlib.sha256()
    count = 0
    for chunk in iter(lambda: file.read(CHUNK), b""):
        digest.update(chunk)
        if copy is not None:
            with disk_problems(scratch):
                copy.write(chunk)
        count += len(chunk)
        seen(count)
    for each in (file, copy):
        if each is not None:
            each.seek(0)
    return digest.hexdigest()
