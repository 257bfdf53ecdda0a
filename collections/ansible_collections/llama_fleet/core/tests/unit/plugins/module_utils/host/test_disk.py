# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import errno
import os
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.host.disk import disk_problems
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError

if typing.TYPE_CHECKING:
    import pathlib


@pytest.mark.parametrize(
    ("number", "found", "fix"),
    [(errno.ENOSPC, "no space left", "make room there"), (errno.EIO, os.strerror(errno.EIO), "fix that")],
)
def test_a_disk_s_error_is_a_problem_of_the_disk(tmp_path: pathlib.Path, number: int, found: str, fix: str) -> None:
    with pytest.raises(ProblemError) as raised, disk_problems(tmp_path):
        raise OSError(number, os.strerror(number))
    (problem,) = raised.value.problems
    assert (problem.subject, problem.found) == ("disk space", f"{found} while writing {tmp_path}")
    assert problem.fix.startswith(fix)
