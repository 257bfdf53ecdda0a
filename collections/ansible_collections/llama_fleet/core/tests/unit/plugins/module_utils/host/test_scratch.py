# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import fcntl
import os
import pathlib
import signal
import subprocess
import sys
import tempfile

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.host import scratch as module
from ansible_collections.llama_fleet.core.plugins.module_utils.host.scratch import scratch

COLLECTIONS = pathlib.Path(__file__).resolve().parents[8]
HOLD = """
import time
from ansible_collections.llama_fleet.core.plugins.module_utils.host.scratch import scratch
with scratch() as folder:
    (folder / "model").write_text("x")
    print(folder, flush=True)
    time.sleep(60)
"""


@pytest.fixture(autouse=True)
def place(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def hold(place: pathlib.Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(COLLECTIONS), "TMPDIR": str(place)}
    process = subprocess.Popen([sys.executable, "-c", HOLD], env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert pathlib.Path(process.stdout.readline().strip()).parent == place
    return process


def test_a_folder_is_private_and_gone_afterwards(place: pathlib.Path) -> None:
    with scratch() as folder:
        assert (folder.parent, folder.stat().st_mode & 0o777) == (place, 0o700)
        (folder / "deep").mkdir()
    assert os.listdir(place) == []


def test_what_a_killed_run_left_goes_and_what_lives_stays(place: pathlib.Path) -> None:
    with hold(place) as killed, hold(place) as living:
        killed.kill()
        assert killed.wait() == -signal.SIGKILL
        assert len(os.listdir(place)) == 2
        with scratch() as folder:
            assert len(os.listdir(place)) == 2
            assert folder.name in os.listdir(place)
        assert [(place / name / "model").read_text() for name in os.listdir(place)] == ["x"]
        living.kill()


def test_what_only_looks_like_ours_stays(place: pathlib.Path) -> None:
    victim = place / "victim"
    victim.mkdir()
    (place / "llama-fleet-scratch-link").symlink_to(victim)
    os.mkfifo(place / "llama-fleet-scratch-fifo")
    (place / "llama-fleet-scratch-open").mkdir()
    (place / "llama-fleet-scratch-open").chmod(0o777)
    before = sorted(os.listdir(place))
    with scratch():
        pass
    assert sorted(os.listdir(place)) == before


def test_a_folder_that_another_run_is_removing_is_not_taken(
    place: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[int] = []
    making = tempfile.mkdtemp

    def make(prefix: str) -> str:
        folder = making(prefix=prefix)
        if not taken:  # the first folder is taken away before it is locked
            taken.append(os.open(folder, os.O_RDONLY))
            fcntl.flock(taken[0], fcntl.LOCK_EX)
        return folder

    monkeypatch.setattr(module.tempfile, "mkdtemp", make)
    with scratch() as folder:
        assert len(os.listdir(place)) == 2
        assert folder.is_dir()
    os.close(taken[0])
    assert len(os.listdir(place)) == 1
