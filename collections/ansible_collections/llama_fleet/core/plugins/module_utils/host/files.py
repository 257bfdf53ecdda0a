# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Write files atomically, hash and lock them, and check free space."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import itertools
import json
import os
import secrets
import shutil
import stat
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.untrusted import LONGEST, Shape, parse

if typing.TYPE_CHECKING:
    import pathlib

CHUNK = 1 << 20


def write_atomic(path: pathlib.Path, content: str, mode: int = 0o644, group: int = -1) -> None:
    """Write ``content`` to ``path`` so that a power cut leaves either the whole old or the whole new file.

    ``group`` is the ID of the group that owns the file; -1 leaves this process's.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    reserved_file = _take_reserved(path, "")
    temporary = reserved_file or _beside(path)
    # Do not truncate a reserved file before writing: its blocks would be free for others to take.
    flags = os.O_WRONLY | os.O_NOFOLLOW | (0 if reserved_file else os.O_CREAT | os.O_EXCL)
    descriptor = os.open(temporary, flags, mode)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            if group >= 0:
                os.fchown(file.fileno(), -1, group)
            os.fchmod(file.fileno(), mode)
            file.write(content)
            file.truncate()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


# Reserved files on the disk, by the path they stand in for and, for a link, its target.
_reserved: dict[tuple[str, str], list[pathlib.Path]] = {}


@contextlib.contextmanager
def reserved(
    contents: typing.Iterable[tuple[pathlib.Path, int]], links: typing.Iterable[tuple[pathlib.Path, str]] = ()
) -> typing.Iterator[None]:
    """Reserve disk space for files of the given sizes (bytes) and for links.

    A full disk is noticed before anything changes: raises OSError. Inside the context, write_atomic and link_atomic
    only fill and rename the reserved files, once per entry. Unused ones are removed at the end. A copy-on-write file
    system may still fail to write.
    """
    try:
        for path, size in contents:
            path.parent.mkdir(parents=True, exist_ok=True)
            held = _reserve(path, "")
            descriptor = os.open(held, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
            with contextlib.closing(os.fdopen(descriptor, "w", encoding="utf-8")):
                os.posix_fallocate(descriptor, 0, max(1, size))
        for link, target in links:
            _reserve(link, target).symlink_to(target)
        yield
    finally:
        for left in itertools.chain(*_reserved.values()):
            left.unlink(missing_ok=True)
        _reserved.clear()


def _reserve(path: pathlib.Path, target: str) -> pathlib.Path:
    held = _beside(path)
    _reserved.setdefault((str(path), target), []).append(held)
    return held


def _take_reserved(path: pathlib.Path, target: str) -> pathlib.Path | None:
    held = _reserved.get((str(path), target))
    return held.pop() if held else None


def sync_directory(path: pathlib.Path) -> None:
    """Make a rename inside ``path`` survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def link_atomic(link: pathlib.Path, target: str) -> None:
    """Point the symbolic link ``link`` at ``target`` in one step."""
    temporary = _take_reserved(link, target) or _beside(link)
    if not temporary.is_symlink():
        temporary.symlink_to(target)
    try:
        os.replace(temporary, link)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(link.parent)


def _beside(path: pathlib.Path) -> pathlib.Path:
    """Return an unguessable name beside ``path``, so that no one else can have put a file there."""
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}.new")


def sha256_of(path: pathlib.Path, seen: typing.Callable[[int], None] = lambda _count: None) -> str:
    """Return the lower-case hex SHA-256 of a file; ``seen`` gets the bytes read so far."""
    with path.open("rb") as file:
        return sha256_of_open(file, seen)


def sha256_of_open(file: typing.IO[bytes], seen: typing.Callable[[int], None] = lambda _count: None) -> str:
    """Return the lower-case hex SHA-256 of an open file from its current position."""
    digest = hashlib.sha256()
    count = 0
    for chunk in iter(lambda: file.read(CHUNK), b""):
        digest.update(chunk)
        count += len(chunk)
        seen(count)
    return digest.hexdigest()


def read_json(path: pathlib.Path, shape: Shape, limit: int = LONGEST) -> typing.Any:
    """Return the JSON document in a file, validated against ``shape``.

    Returns None if the file is missing, truncated, longer than ``limit`` bytes or does not match.
    """
    try:
        # Do not block on a pipe or a device in its place.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            return (
                parse(file.read(limit + 1), shape, str(path), limit)
                if stat.S_ISREG(os.fstat(file.fileno()).st_mode)
                else None
            )
    except (OSError, ValueError):
        return None


def write_json(path: pathlib.Path, value: typing.Mapping[str, typing.Any], mode: int = 0o644) -> None:
    """Write ``value`` as readable JSON, atomically."""
    write_atomic(path, json.dumps(value, indent=2, sort_keys=True) + "\n", mode)


@contextlib.contextmanager
def locked(
    path: pathlib.Path,
    waiting: typing.Callable[[], None] = lambda: None,
    meanwhile: typing.Callable[[], None] | None = None,
) -> typing.Iterator[None]:
    """Hold the lock file ``path``; a second run waits, after one call of ``waiting``.

    With ``meanwhile``, which must take some time, it is called again and again while the run waits.

    Uses POSIX record locks, because flock is per node on some shared file systems. The kernel drops them when the
    process dies, so a kill -9 leaves nothing to clean up.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            waiting()
            _wait_for_lock(file, meanwhile)
        yield


def _wait_for_lock(file: typing.IO[str], meanwhile: typing.Callable[[], None] | None) -> None:
    if meanwhile is None:
        fcntl.lockf(file, fcntl.LOCK_EX)
        return
    while True:  # until the holder ends, as without ``meanwhile``
        meanwhile()
        with contextlib.suppress(OSError):
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return


def existing_parent(path: pathlib.Path) -> pathlib.Path:
    """Return ``path`` or its nearest existing ancestor, where free space and permissions can be queried."""
    return next(parent for parent in (path, *path.parents) if parent.exists())


def space_problem(path: pathlib.Path, wanted: int, variable: str) -> Problem | None:
    """Return a problem if the file system of ``path`` has fewer than ``wanted`` bytes free."""
    place = existing_parent(path)
    free = shutil.disk_usage(place).free
    if free >= wanted:
        return None
    return Problem(
        "disk space",
        f"{free / 1e6:.0f} MB free below {place}",
        f"{wanted / 1e6:.0f} MB",
        f"make room there or point {variable} at another file system",
    )


def require_writable(path: pathlib.Path, variable: str) -> None:
    """Raise ProblemError if this user could not create or write ``path``."""
    place = existing_parent(path)
    if not os.access(place, os.W_OK | os.X_OK):
        raise ProblemError(
            Problem(
                variable,
                f"{path}, which this user (uid {os.geteuid()}) cannot write",
                "a folder that it can write",
                "use become or sudo, or choose another folder",
            )
        )
