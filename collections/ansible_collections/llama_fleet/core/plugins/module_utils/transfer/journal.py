# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The unfinished file on the disk, and the journal that tells which of its segments are good."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import threading
import time
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.download import disk_problems
from ansible_collections.llama_fleet.core.plugins.module_utils.host.files import read_json, sync_directory, write_json
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.untrusted import Many, Number, Record, Text, Word

if typing.TYPE_CHECKING:
    import pathlib

MISSING = "."
UNKNOWN = "?"  # good, but from where is not known
_LETTERS = "0123456789abcdefghijklmnopqrstuvwxyz"  # one for each origin
_LONGEST = 16 << 20  # bytes of a journal: a letter for every segment
_JOURNAL = Record(
    {
        "size": Number(),
        "segment": Number(1),
        "sha256": Text(),
        "origins": Many(Word()),
        "done": Text("[.?0-9a-z]*", most=_LONGEST),
    }
)
_STEP = 256 << 20  # of reserving space
_EMULATED = 2.0  # seconds: a file system that takes longer for a step writes every block
_NO_FALLOCATE = {errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS, errno.ENODEV}
_LOCKED = {errno.EACCES, errno.EAGAIN}


def _places(part: pathlib.Path) -> tuple[pathlib.Path, pathlib.Path]:
    return part.with_name(f"{part.name}.part"), part.with_name(f"{part.name}.journal")


def waiting_bytes(part: pathlib.Path) -> int:
    """The bytes of an unfinished download at ``part`` that a next call keeps."""
    with contextlib.suppress(OSError):
        return part.stat().st_size
    place, journal = _places(part)
    told = read_json(journal, _JOURNAL, _LONGEST)
    if told is None or len(told["done"]) != -(-told["size"] // told["segment"]):
        return 0
    size, segment, done = told["size"], told["segment"], told["done"]
    with contextlib.suppress(OSError):
        if place.stat().st_size == size:
            return sum(min(segment, size - index * segment) for index, letter in enumerate(done) if letter != MISSING)
    return 0


class PartFile:
    """``<part>.part`` with its journal, for this process alone. Reads and writes may come from any thread."""

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
        """Take up what an earlier run left. Raises ProblemError where another run is at it."""
        self._place.parent.mkdir(parents=True, exist_ok=True)
        with disk_problems(self._place):
            self._take_back()
            self._descriptor = self._open_locked()
            told = read_json(self._journal, _JOURNAL, _LONGEST) or {}
            if os.fstat(self._descriptor).st_size == self._size and self._is_ours(told):
                self._letters = [self._letter(letter, told.get("origins")) for letter in told["done"]]
            else:
                self._journal.unlink(missing_ok=True)

    def _take_back(self) -> None:
        """A whole file that was not handed on is an unfinished one, with all segments there, until its sha256 is
        known again.
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
                if error.errno in _LOCKED:  # else a file system without locks: the caller's lock has to do
                    os.close(descriptor)
                    raise ProblemError(
                        Problem(str(self._target), "another run that fetches it", "one at a time", "wait for the other")
                    ) from error
            with contextlib.suppress(OSError):
                if os.stat(self._place).st_ino == os.fstat(descriptor).st_ino:
                    return descriptor
            os.close(descriptor)  # the other run has just finished with it

    def _is_ours(self, told: typing.Mapping[str, typing.Any]) -> bool:
        done = told.get("done")
        same = (told.get("size"), told.get("segment"), told.get("sha256")) == (self._size, self._segment, self._sha256)
        return same and isinstance(done, str) and len(done) == len(self._letters)

    def _letter(self, letter: str, origins: typing.Any) -> str:
        """What ``letter`` of an earlier run's journal is in this one's."""
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
        """One for each segment: ``MISSING``, ``UNKNOWN`` or that of the origin it came from."""
        return "".join(self._letters)

    def reserve(self) -> None:
        """Take the disk space of the whole file. Raises ProblemError where there is not as much."""
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
        """Enter a segment in the journal, once its bytes are safe from a power cut."""
        with self._lock:
            self._unsynced[index] = letter
        with self._sync, disk_problems(self._place):
            with self._lock:
                batch, self._unsynced = self._unsynced, {}
            if not batch:  # another thread has entered it with its own
                return
            os.fdatasync(self._descriptor)
            for number, entry in batch.items():
                self._letters[number] = entry
            self._write_journal()

    def forget(self, indices: typing.Iterable[int]) -> None:
        """Take segments out of the journal again, before others come in their place."""
        with self._sync, disk_problems(self._place):
            for index in indices:
                self._letters[index] = MISSING
            self._write_journal()

    def _write_journal(self) -> None:
        told = {
            "size": self._size,
            "segment": self._segment,
            "sha256": self._sha256,
            "origins": self._origins,
            "done": self.letters(),
        }
        write_json(self._journal, told)

    def finish(self) -> None:
        """The file is right: move it to where it was wanted, safe from a power cut."""
        with self._sync, disk_problems(self._place):
            os.fsync(self._descriptor)
            os.replace(self._place, self._target)
            self._journal.unlink(missing_ok=True)
            sync_directory(self._place.parent)

    def close(self) -> None:
        """Leave off; what holds no good segment is removed, so that it takes no space."""
        if self._descriptor >= 0:
            if set(self._letters) == {MISSING}:
                self._journal.unlink(missing_ok=True)
                self._place.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = -1
