# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Reuse files of another revision by linking them, so that a new revision only costs what changed."""

from __future__ import annotations

import contextlib
import os
import shutil
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.model import store as model_store

if typing.TYPE_CHECKING:
    import pathlib

    from ansible_collections.llama_fleet.core.plugins.module_utils.model.plan import RemoteFile
    from ansible_collections.llama_fleet.core.plugins.module_utils.model.verify import Checker


def reusable(folder: pathlib.Path, wanted: typing.Iterable[RemoteFile], checker: Checker) -> dict[str, pathlib.Path]:
    """Find intact copies of the wanted files, under any name, in ``folder`` and its siblings; by the wanted name."""
    needed = {file.sha256: file for file in wanted if file.size}
    copies: dict[str, pathlib.Path] = {}
    for place in _folders(folder.parent) if needed else ():
        manifest = model_store.read_manifest(place)
        for record in manifest.files.values() if manifest else ():
            file = needed.get(record.sha256)
            if file and file.name not in copies and checker.right(place, record.name, file.size, file.sha256, record):
                copies[file.name] = place / record.name
    return copies


def take(source: pathlib.Path, part: pathlib.Path) -> bool:
    """Link or copy ``source`` to ``part``.

    Return whether it was linked: then its mtime and inode are the same and it needs no second verification.
    """
    part.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        part.unlink()
    try:
        os.link(source, part)
    except OSError:  # the file system has no links, or the file belongs to another user
        shutil.copyfile(source, part)
        return False
    return True


def _folders(place: pathlib.Path) -> list[pathlib.Path]:
    try:
        return sorted(path for path in place.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError:
        return []
