# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test installations from a package index over real HTTP with small wheels."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.cuda import releases as cuda_releases
from ansible_collections.llama_fleet.core.plugins.module_utils.cuda import wheels as cuda_wheels
from ansible_collections.llama_fleet.core.plugins.module_utils.host import files
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.progress import Progress
from ansible_collections.llama_fleet.core.tests.unit.fakes.cuda_wheels import (
    COLLECTIONS,
    RELEASE,
    WHEELS,
    Index,
    install,
    sha256,
)

if typing.TYPE_CHECKING:
    import pathlib


def test_an_installation_and_the_next_run(tmp_path: pathlib.Path, index: Index) -> None:
    target = tmp_path / "toolkits/cuda-13.0.1"
    proven: list[pathlib.Path] = []

    def prove(folder: pathlib.Path) -> str:
        proven.append(folder)
        return "release 13.0, V13.0.1"

    assert install(tmp_path, index, prove)
    assert proven == [tmp_path / "toolkits/.cuda-13.0.1.new"]  # before it is in place
    assert os.access(target / "bin/nvcc", os.X_OK)
    assert (target / "bin/nvcc.profile").stat().st_mode & 0o111 == 0
    assert (target / "lib64/libcublas.so").read_text().startswith("cublascublas")
    assert os.readlink(target / "lib/libcublas.so") == "libcublas.so.13"
    assert (target / "licenses/nvidia_cublas/License.txt").read_text() == "terms\n"
    assert not (target / ".metadata").exists()
    manifest = json.loads((target / "manifest.json").read_text())
    assert (manifest["version"], manifest["nvcc"]) == ("13.0.1", "release 13.0, V13.0.1")
    assert manifest["wheels"]["nvidia-cublas"] == {"version": "1.0", "sha256": sha256(WHEELS["nvidia-cublas"])}
    assert [path.name for path in target.parent.iterdir()] == ["cuda-13.0.1"]

    index.asked.clear()
    assert cuda_wheels.installed(RELEASE, tmp_path)
    assert not install(tmp_path, index)
    assert index.asked == []


def test_a_proof_that_fails_leaves_no_toolkit_and_the_next_run_fetches_nothing(
    tmp_path: pathlib.Path, index: Index
) -> None:
    def fail(_folder: pathlib.Path) -> str:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        install(tmp_path, index, fail)
    assert not (tmp_path / "toolkits/cuda-13.0.1").exists()
    index.asked.clear()
    assert install(tmp_path, index)
    assert index.asked == []


# An installation that kills itself (SIGKILL) in the middle of one of its steps.
KILLED = """
import json, os, pathlib, signal, sys
from ansible_collections.llama_fleet.core.plugins.module_utils.cuda import releases as cuda_releases
from ansible_collections.llama_fleet.core.plugins.module_utils.cuda import wheels as cuda_wheels
from ansible_collections.llama_fleet.core.plugins.module_utils.progress import Progress

root, url, moment, wheels = sys.argv[1:]

def die(*_anything):
    os.kill(os.getpid(), signal.SIGKILL)

class Deadly(Progress):
    def update(self, done, total, unit=""):
        if self._stage.startswith(moment) and done > 100:
            die()

if moment == "renaming":
    os.sync = die
pins = tuple(cuda_releases.Wheel(project, "1.0", {"x86_64": digest}) for project, digest in json.loads(wheels))
release = cuda_releases.Release("13.0.1", 580, 580, ("90",), pins)
prove = die if moment == "proving" else lambda folder: "13.0"
cuda_wheels.install(release, pathlib.Path(root), url, "x86_64", Deadly(), prove)
"""


@pytest.mark.parametrize("moment", ["fetching", "unpacking", "proving", "renaming"])
def test_a_run_that_was_killed_leaves_nothing_that_counts_and_the_next_finishes(
    tmp_path: pathlib.Path, index: Index, moment: str
) -> None:
    target = tmp_path / "toolkits/cuda-13.0.1"
    wheels = json.dumps([(project, sha256(data)) for project, data in WHEELS.items()])
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), index.url, moment, wheels],
        env={"PYTHONPATH": COLLECTIONS},
        check=False,
        timeout=60,
    )
    assert killed.returncode == -signal.SIGKILL
    assert not target.exists()
    index.asked.clear()
    assert install(tmp_path, index)
    assert (target / "lib/libcublas.so.13").stat().st_size == 600_000
    assert len(index.fetched()) == (len(WHEELS) if moment == "fetching" else 0)
    assert [path.name for path in target.parent.iterdir()] == ["cuda-13.0.1"]


def test_remains_of_something_else_are_replaced(tmp_path: pathlib.Path, index: Index) -> None:
    target = tmp_path / "toolkits/cuda-13.0.1"
    (target / "bin").mkdir(parents=True)
    (target / "bin/nvcc").write_text("old")
    (target / "stray").touch()
    assert install(tmp_path, index)
    assert (target / "bin/nvcc").read_text() == "#!/bin/sh\n"
    assert not (target / "stray").exists()


def test_a_file_that_the_index_does_not_have(tmp_path: pathlib.Path, index: Index) -> None:
    other = cuda_releases.Release(
        "13.0.1", 580, 580, (), (cuda_releases.Wheel("nvidia-cublas", "1.0", {"x86_64": "f" * 64}),)
    )
    with pytest.raises(ProblemError, match=r"cuda_toolkit_index_url: .*no file of nvidia-cublas 1\.0 with sha256 ffff"):
        install(tmp_path, index, release=other)
    assert not (tmp_path / "toolkits/cuda-13.0.1").exists()


def test_progress_counts_the_bytes_of_all_wheels(tmp_path: pathlib.Path, index: Index) -> None:
    seen: list[tuple[str, int, int]] = []

    class Watched(Progress):
        def update(self, done: int, total: int, unit: str = "") -> None:
            assert unit == "bytes"
            seen.append((self._stage, done, total))

    cuda_wheels.install(RELEASE, tmp_path, index.url, "x86_64", Watched(), lambda _folder: "13.0")
    size = sum(len(data) for data in WHEELS.values())
    fetching = [(done, total) for stage, done, total in seen if stage == "fetching CUDA toolkit 13.0.1"]
    assert fetching[-1] == (size, size)
    assert [done for done, _total in fetching] == sorted(done for done, _total in fetching)
    unpacking = [(done, total) for stage, done, total in seen if stage == "unpacking CUDA toolkit 13.0.1"]
    assert unpacking[-1][0] == unpacking[-1][1] > 600_000


@pytest.mark.parametrize(
    ("member", "place"),
    [
        ("nvidia/cu13/bin/nvcc", "bin/nvcc"),
        ("nvidia/cu13/include/cuda/std/__config", "include/cuda/std/__config"),
        ("nvidia/cu13/.metadata/.sizes.txt", ""),
        ("nvidia/cu13/lib/", ""),
        ("nvidia/__init__.py", ""),
        ("nvidia/cu13/../../../etc/passwd", ""),
        ("/nvidia/cu13/bin/nvcc", ""),
        ("nvidia_cublas-13.1.1.3.dist-info/licenses/License.txt", "licenses/nvidia_cublas/License.txt"),
        ("nvidia_cublas-13.1.1.3.dist-info/RECORD", ""),
    ],
)
def test_place_of(member: str, place: str) -> None:
    assert cuda_wheels.place_of(member) == place


def test_a_manifest_alone_is_no_installation(tmp_path: pathlib.Path) -> None:
    files.write_json(tmp_path / "toolkits/cuda-13.0.1/manifest.json", {"version": "13.0.1"})
    assert not cuda_wheels.installed(RELEASE, tmp_path)
