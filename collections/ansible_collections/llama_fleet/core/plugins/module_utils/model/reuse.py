# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Files that another revision has already: linked, so that a new revision costs only what changed."""

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
    """Where ``folder`` and its siblings hold the wanted files, intact and under whatever name; by the wanted name."""
    needed = {file.sha256: file for file in wanted if file.size}
    found: dict[str, pathlib.Path] = {}
    for place in _folders(folder.parent) if needed else ():
        manifest = model_store.read_manifest(place)
        for record in manifest.files.values() if manifest else ():
            file = needed.get(record.sha256)
            if file and file.name not in found and checker.right(place, record.name, file.size, file.sha256, record):
                found[file.name] = place / record.name
    return found


def take(source: pathlib.Path, part: pathlib.Path) -> bool:
    """Have ``source`` at ``part`` too.

    Returns whether it is linked and so needs no second look: its time and inode stay.
    """
    part.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        part.unlink()
    try:
        os.link(source, part)
    except OSError:  # a file system without links, or a file of somebody else
        shutil.copyfile(source, part)
        return False
    return True


def _folders(place: pathlib.Path) -> list[pathlib.Path]:
    try:
        return sorted(path for path in place.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError:
        return []
