# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Manage unverified bytes in the store, which are named by their checksum, and give verified files their names."""

from __future__ import annotations

import contextlib
import os
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.bytes import require_gguf_file
from ansible_collections.llama_fleet.core.plugins.module_utils.host.files import sync_directory
from ansible_collections.llama_fleet.core.plugins.module_utils.model.source import VARIABLE

if typing.TYPE_CHECKING:
    import pathlib

_ENDINGS = (".part", ".journal")


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
