# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import errno
import os
import socket
import ssl
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.host.disk import disk_problems
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError

if typing.TYPE_CHECKING:
    import pathlib


def problem_of(error: OSError, path: pathlib.Path) -> Problem:
    with pytest.raises(ProblemError) as raised, disk_problems(path):
        raise error
    (problem,) = raised.value.problems
    assert problem.fix.endswith("run again; the download resumes where it stopped")
    return problem


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_a_problem_of_disk_space(tmp_path: pathlib.Path, number: int) -> None:
    problem = problem_of(OSError(number, os.strerror(number)), tmp_path)
    assert (problem.subject, problem.found) == ("disk space", f"no space left while writing {tmp_path}")
    assert problem.fix.startswith("make room there and ")


@pytest.mark.parametrize(
    ("number", "fix"),
    [
        (errno.EIO, "check the disk and "),
        (errno.EFBIG, "use another file system there"),
        (errno.EROFS, "mount it for writing and "),
        (errno.EACCES, "give this user the right to write there and "),
        (errno.EPERM, "give this user the right to write there and "),
        (errno.EMFILE, "raise the limit of open files and "),
        (errno.EISDIR, "remove the cause and "),
    ],
)
def test_any_other_error_of_a_file_names_the_file(tmp_path: pathlib.Path, number: int, fix: str) -> None:
    problem = problem_of(OSError(number, os.strerror(number), "/the/file"), tmp_path)
    assert (problem.subject, problem.found) == ("/the/file", os.strerror(number))
    assert problem.fix.startswith(fix)
    assert problem_of(OSError(number, os.strerror(number)), tmp_path).subject == str(tmp_path)


@pytest.mark.parametrize(
    ("error", "found"),
    [
        (ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"), "Connection reset by peer"),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "Name or service not known"),
        (TimeoutError("timed out"), "timed out"),
        (TimeoutError(), "TimeoutError"),
        (ssl.SSLError(1, "certificate verify failed"), "certificate verify failed"),
        (OSError(errno.ENETUNREACH, "Network is unreachable"), "Network is unreachable"),
    ],
)
def test_a_connection_is_no_problem_of_the_disk(tmp_path: pathlib.Path, error: OSError, found: str) -> None:
    problem = problem_of(error, tmp_path)
    assert (problem.subject, problem.found) == ("network", f"{found} while fetching {tmp_path}")
