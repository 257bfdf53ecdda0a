# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Report what the operating system says about a file or a connection as a problem of its own kind."""

from __future__ import annotations

import contextlib
import errno
import socket
import ssl
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError

if typing.TYPE_CHECKING:
    import pathlib

_NO_SPACE = {errno.ENOSPC, errno.EDQUOT}
_NETWORK = (ConnectionError, TimeoutError, socket.gaierror, ssl.SSLError)
_UNREACHABLE = {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN, errno.ETIMEDOUT}
_FIXES = {
    errno.EFBIG: "use another file system there, because this one has no files of that size",
    errno.EROFS: "mount it for writing",
    errno.EACCES: "give this user the right to write there",
    errno.EPERM: "give this user the right to write there",
    errno.EIO: "check the disk",
    errno.EMFILE: "raise the limit of open files",
    errno.ENFILE: "raise the limit of open files",
}
_RESUMES = "run again; the download resumes where it stopped"


@contextlib.contextmanager
def disk_problems(path: pathlib.Path) -> typing.Iterator[None]:
    """Raise ProblemError for an OSError inside the context, so that it is not retried as a connection error."""
    try:
        yield
    except OSError as error:
        raise ProblemError(_problem(error, path)) from error


def _problem(error: OSError, path: pathlib.Path) -> Problem:
    """Return the problem that ``error`` is. Only a full disk is one of disk space."""
    reason = error.strerror or str(error) or type(error).__name__
    if error.errno in _NO_SPACE:
        full = f"no space left while writing {path}"
        return Problem("disk space", full, "room for the whole file", f"make room there and {_RESUMES}")
    if isinstance(error, _NETWORK) or error.errno in _UNREACHABLE:
        return Problem("network", f"{reason} while fetching {path}", "a connection that lasts", _RESUMES)
    place = error.filename if isinstance(error.filename, str) else path
    cure = _FIXES.get(error.errno or 0, "remove the cause")
    return Problem(str(place), reason, "a file that can be read and written", f"{cure} and {_RESUMES}")
