# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import os
import signal
import subprocess
import sys
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils import unwatched
from ansible_collections.llama_fleet.core.plugins.module_utils.progress import FILE, FILE_BESIDE

if typing.TYPE_CHECKING:
    import pathlib

GUARDED = """
import signal, sys
from ansible_collections.llama_fleet.core.plugins.module_utils import unwatched
unwatched.LIMIT = unwatched.PAUSE = 0.01
unwatched.wait_until_unwatched.__defaults__ = (0.01, *unwatched.wait_until_unwatched.__defaults__[1:])
signal.signal(signal.SIGTERM, lambda *_of: sys.exit("ended"))
unwatched.guard(sys.argv[1])
signal.sigtimedwait([signal.SIGUSR1], 2 if sys.argv[2] == "soon" else 60)
"""


class Hour:
    """A clock that moves only while the guard pauses, and the folder that a run looks at for a time."""

    def __init__(self, folder: pathlib.Path, looks: int) -> None:
        self.now, self.folder, self.looks = 0.0, folder, looks
        self.pauses = 0

    def clock(self) -> float:
        return self.now

    def pause(self, seconds: float) -> None:
        self.now += seconds
        self.pauses += 1
        if self.pauses <= self.looks:
            file = self.folder / unwatched.LOOKED
            file.touch()
            os.utime(file, ns=(self.pauses, self.pauses))


@pytest.mark.parametrize("looks", [0, 1, 50])
def test_a_stage_ends_when_no_run_has_looked_for_the_limit(tmp_path: pathlib.Path, looks: int) -> None:
    hour = Hour(tmp_path, looks)
    unwatched.wait_until_unwatched(str(tmp_path), 20.0, hour.clock, hour.pause)
    assert hour.now == looks * unwatched.PAUSE + 20.0 + unwatched.PAUSE


@pytest.mark.parametrize(("name", "how_long", "said"), [(FILE_BESIDE, "long", "ended"), (FILE, "soon", "")])
def test_only_a_stage_beside_others_is_ended_and_its_folder_removed(
    tmp_path: pathlib.Path, name: str, how_long: str, said: str
) -> None:
    folder = tmp_path / "job"
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", GUARDED, str(folder / name), how_long],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr.strip() == said
    assert folder.exists() is not bool(said)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
