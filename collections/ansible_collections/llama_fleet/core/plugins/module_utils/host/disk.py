# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Report a full or failing disk as a problem of the disk."""

from __future__ import annotations

import contextlib
import errno
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError

if typing.TYPE_CHECKING:
    import pathlib

_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextlib.contextmanager
def disk_problems(path: pathlib.Path) -> typing.Iterator[None]:
    """Raise ProblemError for a disk error inside the context, so that it is not retried as a connection error."""
    try:
        yield
    except OSError as error:
        reason = "no space left" if error.errno in _NO_SPACE else str(error.strerror)
        cure = "make room there" if error.errno in _NO_SPACE else "fix that"
        fix = f"{cure} and run again; the download resumes where it stopped"
        raise ProblemError(
            Problem("disk space", f"{reason} while writing {path}", "room for the whole file", fix)
        ) from error
