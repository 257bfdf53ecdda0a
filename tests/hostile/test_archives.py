# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Archives that are made to hurt: each ends in one sentence, writes nothing outside, and takes a bounded amount of
memory.
"""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
import typing

import pytest

from tests.hostile.archive_cases import CASES

if typing.TYPE_CHECKING:
    import pathlib


MOST = 300 << 20  # bytes of memory; Python and what it imports here have 60 MB of them


def test_no_case_got_lost() -> None:
    assert len(CASES) == len(set(CASES)) == 70


@pytest.mark.parametrize(("kind", "build", "wanted"), CASES.values(), ids=CASES)
def test_an_archive_that_is_made_to_hurt(
    tmp_path: pathlib.Path, outside: pathlib.Path, kind: str, build: typing.Callable[[], bytes], wanted: str
) -> None:
    archive, target = tmp_path / f"a.{kind}", outside.parent / "target"
    archive.write_bytes(build())
    target.mkdir()
    command = [sys.executable, "-m", "tests.hostile.unpacking", kind, str(archive), str(target)]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert wanted in answer["told"]
    assert bool(answer["told"]) == bool(wanted)
    assert re.fullmatch(r"[^\n\x1b]*", answer["told"])
    assert answer["peak"] < MOST
    assert {path.name for path in tmp_path.iterdir()} == {archive.name, "outside", "target"}
    assert not list(tmp_path.rglob("*evil*"))
    for path in target.rglob("*"):
        status = path.lstat()
        assert stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode) or stat.S_ISLNK(status.st_mode)
        assert not status.st_mode & (stat.S_ISUID | stat.S_ISGID | stat.S_ISVTX | stat.S_IWOTH) or stat.S_ISLNK(
            status.st_mode
        )
