# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test the removal of toolkits that were installed from wheels."""

from __future__ import annotations

import signal
import subprocess
import sys
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.cuda import wheels as cuda_wheels
from ansible_collections.llama_fleet.core.plugins.module_utils.host import files
from ansible_collections.llama_fleet.core.plugins.module_utils.progress import Progress
from ansible_collections.llama_fleet.core.tests.unit.fakes.cuda_wheels import COLLECTIONS, RELEASE, Index, install

if typing.TYPE_CHECKING:
    import pathlib


def test_removal_takes_what_is_ours_and_nothing_else(tmp_path: pathlib.Path, index: Index) -> None:
    install(tmp_path, index)
    toolkits = tmp_path / "toolkits"
    for remains in (".cuda-13.0.1.gone/bin", ".cuda-13.4.2.new/lib", ".cuda-13.4.2.wheels"):
        (toolkits / remains).mkdir(parents=True)
    files.write_json(toolkits / "proven.json", {})
    system = tmp_path / "usr/local/cuda-12.8.93"
    files.write_json(system / "manifest.json", {"version": "12.8.93"})
    (toolkits / "cuda-12.8.93").symlink_to(system)
    files.write_json(toolkits / "cuda-12.6.1/version.json", {"version": "12.6.1"})
    files.write_json(toolkits / "cuda-mine/manifest.json", {"version": "13.0.1"})

    wanted = ["cuda-13.0.1", ".cuda-13.0.1.gone", ".cuda-13.4.2.new", ".cuda-13.4.2.wheels", "proven.json"]
    assert [path.name for path in cuda_wheels.removable(tmp_path)] == wanted
    assert [path.name for path in cuda_wheels.removable(tmp_path, "13.0")] == wanted[:2]
    assert [path.name for path in cuda_wheels.remove(tmp_path, "", Progress())] == wanted
    assert sorted(path.name for path in toolkits.iterdir()) == ["cuda-12.6.1", "cuda-12.8.93", "cuda-mine"]
    assert (system / "manifest.json").exists()
    assert cuda_wheels.remove(tmp_path, "", Progress()) == []


# A removal that kills itself (SIGKILL) when it has removed half of the toolkit.
CUT_OFF = """
import os, pathlib, shutil, signal, sys
from ansible_collections.llama_fleet.core.plugins.module_utils.cuda import wheels as cuda_wheels
from ansible_collections.llama_fleet.core.plugins.module_utils.progress import Progress

def die(path, **_options):
    if path.exists():
        (path / "lib/libcublas.so.13").unlink()
        os.kill(os.getpid(), signal.SIGKILL)

shutil.rmtree = die
cuda_wheels.remove(pathlib.Path(sys.argv[1]), "", Progress())
"""


def test_a_removal_that_was_killed_leaves_no_half_toolkit_and_the_next_finishes(
    tmp_path: pathlib.Path, index: Index
) -> None:
    install(tmp_path, index)
    killed = subprocess.run(
        [sys.executable, "-c", CUT_OFF, str(tmp_path)], env={"PYTHONPATH": COLLECTIONS}, check=False, timeout=60
    )
    assert killed.returncode == -signal.SIGKILL
    assert not cuda_wheels.installed(RELEASE, tmp_path)
    assert [path.name for path in cuda_wheels.remove(tmp_path, "", Progress())] == [".cuda-13.0.1.gone"]
    assert not (tmp_path / "toolkits").exists()
    assert install(tmp_path, index)
