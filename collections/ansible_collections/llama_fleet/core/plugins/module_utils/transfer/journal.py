# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Keep an unfinished file on disk with a journal of its good segments."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import threading
import time
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.host.disk import disk_problems
from ansible_collections.llama_fleet.core.plugins.module_utils.host.files import read_json, sync_directory, write_json
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.untrusted import Many, Number, Record, Text, Word

if typing.TYPE_CHECKING:
    import pathlib

MISSING = "."
UNKNOWN = "?"  # good, but of unknown origin
_LETTERS = "0123456789abcdefghijklmnopqrstuvwxyz"  # one for each origin
_LONGEST = 16 << 20  # bytes of a journal, one letter per segment
_JOURNAL = Record(
    {
        "size": Number(),
        "segment": Number(1),
        "sha256": Text(),
        "origins": Many(Word()),
        "done": Text("[.?0-9a-z]*", most=_LONGEST),
    }
)
_STEP = 256 << 20  # bytes to reserve at a time
_EMULATED = 2.0  # seconds: a file system that takes longer per step emulates fallocate by writing every block
_NO_FALLOCATE = {errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS, errno.ENODEV}
_LOCKED = {errno.EACCES, errno.EAGAIN}


def _places(part: pathlib.Path) -> tuple[pathlib.Path, pathlib.Path]:
    return part.with_name(f"{part.name}.part"), part.with_name(f"{part.name}.journal")


def waiting_bytes(part: pathlib.Path) -> int:
    """Return the bytes of an unfinished download at ``part`` that the next call keeps."""
    with contextlib.suppress(OSError):
        return part.stat().st_size
    place, journal = _places(part)
    record = read_json(journal, _JOURNAL, _LONGEST)
    if record is None or len(record["done"]) != -(-record["size"] // record["segment"]):
        return 0
    size, segment, done = record["size"], record["segment"], record["done"]
    with contextlib.suppress(OSError):
        if place.stat().st_size == size:
            return sum(min(segment, size - index * segment) for index, letter in enumerate(done) if letter != MISSING)
    return 0


class PartFile:
    """``<part>.part`` with its journal, locked for this process. Any thread may read and write."""

    def __init__(self, part: pathlib.Path, size: int, segment: int, sha256: str, origins: typing.Sequence[str]) -> None:
        self._target = part
        self._place, self._journal = _places(part)
        self._size = size
        self._segment = segment
        self._sha256 = sha256
        self._origins = list(origins)
        self._lock = threading.Lock()
        self._sync = threading.Lock()
        self._letters = [MISSING] * -(-size // segment)
        self._unsynced: dict[int, str] = {}
        self._descriptor = -1

    def open(self) -> None:
        """Resume the work of an earlier run. Raises ProblemError if another run is fetching the file."""
        self._place.parent.mkdir(parents=True, exist_ok=True)
        with disk_problems(self._place):
            self._take_back()
            self._descriptor = self._open_locked()
            record = read_json(self._journal, _JOURNAL, _LONGEST) or {}
            if os.fstat(self._descriptor).st_size == self._size and self._is_ours(record):
                self._letters = [self._letter(letter, record.get("origins")) for letter in record["done"]]
            else:
                self._journal.unlink(missing_ok=True)

    def _take_back(self) -> None:
        """Turn a finished file that was not handed on into an unfinished one with all segments.

        Its SHA-256 must be computed again.
        """
        if self._target.is_file() and self._target.stat().st_size == self._size:
            self._letters = [UNKNOWN] * len(self._letters)
            self._write_journal()
            os.replace(self._target, self._place)
        else:
            self._target.unlink(missing_ok=True)

    def _open_locked(self) -> int:
        while True:
            descriptor = os.open(self._place, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno in _LOCKED:  # otherwise the file system has no locks, and the caller's lock must do
                    os.close(descriptor)
                    raise ProblemError(
                        Problem(
                            str(self._target), "another run that fetches it", "one run at a time", "wait for the other"
                        )
                    ) from error
            with contextlib.suppress(OSError):
                if os.stat(self._place).st_ino == os.fstat(descriptor).st_ino:
                    return descriptor
            os.close(descriptor)  # the other run has just finished the file

    def _is_ours(self, record: typing.Mapping[str, typing.Any]) -> bool:
        done = record.get("done")
        ours = (self._size, self._segment, self._sha256)
        same = (record.get("size"), record.get("segment"), record.get("sha256")) == ours
        return same and isinstance(done, str) and len(done) == len(self._letters)

    def _letter(self, letter: str, origins: typing.Any) -> str:
        """Translate a letter of an earlier run's journal to the origins of this run."""
        number = _LETTERS.find(letter)
        if (
            number < 0
            or not isinstance(origins, list)
            or number >= len(origins)
            or origins[number] not in self._origins
        ):
            return MISSING if letter == MISSING else UNKNOWN
        return self.letter(self._origins.index(origins[number]))

    @staticmethod
    def letter(origin: int) -> str:
        return _LETTERS[origin] if 0 <= origin < len(_LETTERS) else UNKNOWN

    def letters(self) -> str:
        """Return one letter per segment: ``MISSING``, ``UNKNOWN`` or that of its origin."""
        return "".join(self._letters)

    def reserve(self) -> None:
        """Allocate the disk space of the whole file. Raises ProblemError if there is not enough."""
        with disk_problems(self._place):
            for begin in range(0, self._size, _STEP):
                began = time.monotonic()
                try:
                    os.posix_fallocate(self._descriptor, begin, min(_STEP, self._size - begin))
                except OSError as error:
                    if error.errno not in _NO_FALLOCATE:
                        raise
                    break
                if time.monotonic() - began > _EMULATED:
                    break
            status = os.fstat(self._descriptor)
            if status.st_size != self._size:
                if shutil.disk_usage(self._place).free < self._size - status.st_blocks * 512:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.ftruncate(self._descriptor, self._size)

    def write(self, view: memoryview, position: int) -> None:
        with disk_problems(self._place):
            while view:
                count = os.pwrite(self._descriptor, view, position)
                view, position = view[count:], position + count

    def readinto(self, view: memoryview, position: int) -> int:
        with disk_problems(self._place):
            return os.preadv(self._descriptor, [view], position)

    def commit(self, index: int, letter: str) -> None:
        """Enter a segment in the journal after its bytes are synced to disk."""
        with self._lock:
            self._unsynced[index] = letter
        with self._sync, disk_problems(self._place):
            with self._lock:
                batch, self._unsynced = self._unsynced, {}
            if not batch:  # another thread has committed it with its own
                return
            os.fdatasync(self._descriptor)
            for number, entry in batch.items():
                self._letters[number] = entry
            self._write_journal()

    def forget(self, indices: typing.Iterable[int]) -> None:
        """Remove segments from the journal before they are overwritten."""
        with self._sync, disk_problems(self._place):
            for index in indices:
                self._letters[index] = MISSING
            self._write_journal()

    def _write_journal(self) -> None:
        record = {
            "size": self._size,
            "segment": self._segment,
            "sha256": self._sha256,
            "origins": self._origins,
            "done": self.letters(),
        }
        write_json(self._journal, record)

    def finish(self) -> None:
        """Move the verified file to its target, safe from a power cut."""
        with self._sync, disk_problems(self._place):
            os.fsync(self._descriptor)
            os.replace(self._place, self._target)
            self._journal.unlink(missing_ok=True)
            sync_directory(self._place.parent)

    def close(self) -> None:
        """Stop working on the file; remove it if it holds no good segment, to free its space."""
        if self._descriptor >= 0:
            if set(self._letters) == {MISSING}:
                self._journal.unlink(missing_ok=True)
                self._place.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = -1
