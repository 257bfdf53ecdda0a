# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Verify files on the host, give verified ones their names, and manage unverified bytes, named by their checksum.

A file is verified by its record, or by reading it if there is no valid record.
"""

from __future__ import annotations

import contextlib
import os
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.bytes import require_gguf_file
from ansible_collections.llama_fleet.core.plugins.module_utils.host.files import sync_directory
from ansible_collections.llama_fleet.core.plugins.module_utils.model.source import VARIABLE
from ansible_collections.llama_fleet.core.plugins.module_utils.model.store import (
    StoredFile,
    hashed_file,
    is_intact,
    stored_file,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.progress import BYTES, Progress

if typing.TYPE_CHECKING:
    import pathlib

_ENDINGS = (".part", ".journal")


class Checker:
    """A verifier of files that reads none twice. With ``always`` it ignores the records of earlier runs."""

    def __init__(self, progress: Progress, always: bool = False) -> None:
        self._progress = progress
        self._always = always
        self._proved: dict[pathlib.Path, StoredFile] = {}

    def right(
        self, folder: pathlib.Path, name: str, size: int, sha256: str, record: StoredFile | None = None
    ) -> StoredFile | None:
        """Return the record of the file ``name`` if it has ``sha256`` and ``size`` bytes (0: unknown), else None."""
        path = folder / name
        for known in (self._proved.get(path), None if self._always else record):
            if known and known.sha256 == sha256 and is_intact(folder, known):
                return known
        try:
            if size and path.stat().st_size != size:
                return None
            actual = self._hashed(folder, name, size or path.stat().st_size)
        except OSError:
            return None
        if actual.sha256 != sha256:
            return None
        self._proved[path] = actual
        return actual

    def trust(self, folder: pathlib.Path, name: str, sha256: str) -> None:
        """Accept a file that was verified before it got this name."""
        self._proved[folder / name] = stored_file(folder, name, sha256)

    def _hashed(self, folder: pathlib.Path, name: str, size: int) -> StoredFile:
        self._progress.stage(f"checking {(folder / name).name}")
        return hashed_file(folder, name, lambda count: self._progress.update(count, size, BYTES))


def taken(part: pathlib.Path) -> int:
    """Return the bytes of disk that a download of ``part`` occupies, including reserved ones."""
    total = 0
    for path in (part, *leftovers(part)):
        with contextlib.suppress(OSError):
            total += path.stat().st_blocks * 512
    return total


def leftovers(part: pathlib.Path) -> list[pathlib.Path]:
    """Return the paths of the files that a transport keeps for an unfinished download."""
    return [part.with_name(part.name + ending) for ending in _ENDINGS]


def place(part: pathlib.Path, target: pathlib.Path) -> None:
    """Give a verified file its name, and remove what an unfinished download left. Raises ProblemError if not GGUF."""
    require_gguf_file(part, VARIABLE)
    target.parent.mkdir(parents=True, exist_ok=True)
    os.replace(part, target)
    sync_directory(target.parent)
    for leftover in leftovers(part):
        leftover.unlink(missing_ok=True)
