# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Which files on the host are right: by their record, and by reading them where that does not tell."""

from __future__ import annotations

import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.model.store import (
    StoredFile,
    hashed_file,
    is_intact,
    stored_file,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.progress import BYTES, Progress

if typing.TYPE_CHECKING:
    import pathlib


class Checker:
    """Tells right files from others and reads none of them twice. With ``always`` no earlier run's word counts."""

    def __init__(self, progress: Progress, always: bool = False) -> None:
        self._progress = progress
        self._always = always
        self._proved: dict[pathlib.Path, StoredFile] = {}

    def right(
        self, folder: pathlib.Path, name: str, size: int, sha256: str, record: StoredFile | None = None
    ) -> StoredFile | None:
        """The record of the file ``name`` if it has ``size`` bytes and ``sha256``, else None;

        ``size`` is 0 where nobody tells it.
        """
        path = folder / name
        for known in (self._proved.get(path), None if self._always else record):
            if known and known.sha256 == sha256 and is_intact(folder, known):
                return known
        try:
            if size and path.stat().st_size != size:
                return None
            found = self._hashed(folder, name, size or path.stat().st_size)
        except OSError:
            return None
        if found.sha256 != sha256:
            return None
        self._proved[path] = found
        return found

    def trust(self, folder: pathlib.Path, name: str, sha256: str) -> None:
        """Take a file for right that was verified before it got this name."""
        self._proved[folder / name] = stored_file(folder, name, sha256)

    def _hashed(self, folder: pathlib.Path, name: str, size: int) -> StoredFile:
        self._progress.stage(f"checking {(folder / name).name}")
        return hashed_file(folder, name, lambda count: self._progress.update(count, size, BYTES))
