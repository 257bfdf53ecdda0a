# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Know before a switch whether what it will write can be written: a server that is stopped for another one has to
be put back even on a full disk.
"""

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

# Bytes that a manifest grows by when it is noted to be good.
_NOTE = 256
_FIXES = {
    errno.ENOSPC: "make room there",
    errno.EDQUOT: "make room there, or raise the quota",
    errno.EROFS: "mount it for writing",
}
Contents = list[tuple[typing.Any, int]]
Links = list[tuple[typing.Any, str]]


def wanted(folder: pathlib.Path, ways: typing.Sequence[tuple[Generation, Runtime]]) -> tuple[Contents, Links]:
    """Return what is written by a switch in ``folder`` to the first of ``ways`` and then perhaps back to the next:
    files of so many bytes, links to targets.
    """
    notes = [
        (found.path / MANIFEST, len(json.dumps(found.manifest, indent=2)) + _NOTE)
        for found, _runtime in ways
        if not found.good
    ]
    outside = itertools.chain(*(runtime.writes(found) for found, runtime in ways))
    return [*notes, *outside], [(folder / CURRENT, target_of(found)) for found, _runtime in ways]


def obstacles(folder: pathlib.Path) -> list[Problem]:
    """Return what is in the place of the link to the current generation of the instance in ``folder``, so that no
    switch could end.
    """
    link = folder / CURRENT
    if link.is_symlink() or not link.exists():
        return []
    what = f"a {'folder' if link.is_dir() else 'file'} in the place of the link to the current generation"
    return [
        Problem(str(link), what, "a link that llama-fleet keeps", "move it away: the next run makes the link again")
    ]


def unwritten(error: OSError, folder: pathlib.Path) -> Problem:
    """Return the problem of a file system that takes nothing below ``folder``, or where else the error says."""
    fix = _FIXES.get(error.errno or 0, "see what is in its place")
    place = str(error.filename2 or error.filename or folder)
    return Problem(
        place,
        error.strerror or str(error),
        "a place that can be written",
        f"{fix}, and run it again: a server that runs goes on meanwhile",
    )
