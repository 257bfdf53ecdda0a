# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Check before a switch that its files can be written, because a stopped server must be restorable on a full disk."""

from __future__ import annotations

import errno
import itertools
import json
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem
from ansible_collections.llama_fleet.core.plugins.module_utils.server.state.generations import (
    CURRENT,
    MANIFEST,
    target_of,
)

if typing.TYPE_CHECKING:
    import pathlib

    from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.runtime import Runtime
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.state.generations import Generation

# Bytes that a manifest grows by when the generation is marked as good.
_NOTE = 256
_FIXES = {
    errno.ENOSPC: "make room there",
    errno.EDQUOT: "make room there, or raise the quota",
    errno.EROFS: "mount it for writing",
}
Contents = list[tuple[typing.Any, int]]
Links = list[tuple[typing.Any, str]]


def wanted(folder: pathlib.Path, ways: typing.Sequence[tuple[Generation, Runtime]]) -> tuple[Contents, Links]:
    """Return the files (path, bytes) and links (path, target) that a switch writes.

    It goes to the first of ``ways`` and, if that fails, back to the next.
    """
    notes = [
        (generation.path / MANIFEST, len(json.dumps(generation.manifest, indent=2)) + _NOTE)
        for generation, _runtime in ways
        if not generation.good
    ]
    outside = itertools.chain(*(runtime.writes(generation) for generation, runtime in ways))
    return [*notes, *outside], [(folder / CURRENT, target_of(generation)) for generation, _runtime in ways]


def obstacles(folder: pathlib.Path) -> list[Problem]:
    """Return a problem if a file or folder is at the path of the link ``current``, because no switch could finish."""
    link = folder / CURRENT
    if link.is_symlink() or not link.exists():
        return []
    obstacle = f"a {'folder' if link.is_dir() else 'file'} in the place of the link to the current generation"
    fix = "move it away; the next run creates the link again"
    return [Problem(str(link), obstacle, "a link that llama-fleet manages", fix)]


def unwritten(error: OSError, folder: pathlib.Path) -> Problem:
    """Return the problem of a failed write in ``folder``, or at the path that the error names."""
    fix = _FIXES.get(error.errno or 0, "see what is in its place")
    place = str(error.filename2 or error.filename or folder)
    fix = f"{fix}, and run it again; a running server is not affected"
    return Problem(place, error.strerror or str(error), "a writable place", fix)
