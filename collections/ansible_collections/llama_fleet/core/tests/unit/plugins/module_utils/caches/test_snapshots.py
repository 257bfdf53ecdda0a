# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test reading a repository out of the cache of the Hub's client."""

from __future__ import annotations

import os
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.caches import snapshots
from ansible_collections.llama_fleet.core.plugins.module_utils.caches.places import BLOBS, HUB, Place
from ansible_collections.llama_fleet.core.plugins.module_utils.caches.snapshots import CachedFile, snapshot

if typing.TYPE_CHECKING:
    import pathlib

REPO = "owner/Model-GGUF"
COMMIT = "c0" * 20
FIRST, SECOND = "ab" * 32, "cd" * 32


@pytest.fixture
def repo(tmp_path: pathlib.Path) -> pathlib.Path:
    """Return a repository as the Hub's client keeps it."""
    repo = tmp_path / "hub" / "models--owner--Model-GGUF"
    for name in ("blobs", "refs/refs/pr", f"snapshots/{COMMIT}/q8"):
        (repo / name).mkdir(parents=True)
    (repo / "refs/main").write_text(COMMIT, encoding="ascii")
    (repo / "refs/refs/pr/1").write_text(COMMIT + "\n", encoding="ascii")
    (repo / "blobs" / FIRST).write_bytes(b"GGUF first")
    (repo / "blobs" / SECOND).write_bytes(b"GGUF second")
    (repo / "blobs" / ("ef" * 20)).write_bytes(b"a text")
    folder = repo / "snapshots" / COMMIT
    (folder / "Model-Q4_K_M.gguf").symlink_to(f"../../blobs/{FIRST}")
    (folder / "q8/Model-Q8_0.gguf").symlink_to(f"../../../blobs/{SECOND}")
    (folder / "README.md").symlink_to(f"../../blobs/{'ef' * 20}")
    return repo


def read(repo: pathlib.Path, revision: str = "main") -> snapshots.Snapshot | None:
    return snapshot([Place("/nonexistent", HUB), Place(str(repo.parent), HUB)], REPO, revision)


@pytest.mark.parametrize("revision", ["main", COMMIT, "refs/pr/1"])
def test_the_files_of_a_revision(revision: str, repo: pathlib.Path) -> None:
    held = read(repo, revision)
    assert held is not None
    assert held.commit == COMMIT
    assert held.files == (
        CachedFile("Model-Q4_K_M.gguf", 10, FIRST),
        CachedFile("q8/Model-Q8_0.gguf", 11, SECOND),
    )
    assert held.read(held.files[1], 5, 8) == b"sec"


@pytest.mark.parametrize("revision", ["v2", "d0" * 20, "../main", "", "/etc/passwd", "main\n"])
def test_a_revision_that_is_not_there(revision: str, repo: pathlib.Path) -> None:
    assert read(repo, revision) is None


def test_main_is_the_only_commit_with_files_if_the_cache_does_not_say(repo: pathlib.Path) -> None:
    other = "d0" * 20
    (repo / "snapshots" / other).mkdir()
    for act in (lambda: (repo / "refs/main").write_text(other, encoding="ascii"), (repo / "refs/main").unlink):
        act()
        held = read(repo)
        assert held is not None
        assert held.commit == COMMIT
    assert read(repo, "v2") is None
    (repo / "snapshots" / other / "Model-Q4_K_M.gguf").symlink_to(f"../../blobs/{FIRST}")
    assert read(repo) is None, "it may be either"


def test_another_layout_is_not_read(repo: pathlib.Path) -> None:
    assert snapshot([Place(str(repo.parent), BLOBS)], REPO, "main") is None


@pytest.mark.parametrize(
    "target",
    [
        "/etc/passwd",
        "../../../../secret",
        f"../../blobs/{'11' * 32}",
        f"../../blobs/{'ef' * 20}",
        f"blobs/{FIRST}",
        "x",
    ],
)
def test_a_link_that_leads_to_no_blob_with_a_sum_is_left_out(target: str, repo: pathlib.Path) -> None:
    (repo / "snapshots" / COMMIT / "Evil.gguf").symlink_to(target)
    held = read(repo)
    assert held is not None
    assert [file.path for file in held.files] == ["Model-Q4_K_M.gguf", "q8/Model-Q8_0.gguf"]


def test_a_blob_that_is_a_link_or_a_pipe_is_left_out(repo: pathlib.Path, tmp_path: pathlib.Path) -> None:
    (tmp_path / "secret").write_bytes(b"GGUF secret")
    (repo / "blobs" / FIRST).unlink()
    (repo / "blobs" / FIRST).symlink_to(tmp_path / "secret")
    (repo / "blobs" / SECOND).unlink()
    os.mkfifo(repo / "blobs" / SECOND)
    assert read(repo) is None


def test_a_reference_that_is_no_commit(repo: pathlib.Path) -> None:
    (repo / "snapshots" / COMMIT).rename(repo / "snapshots/short")
    (repo / "refs/main").write_text("short", encoding="ascii")
    assert read(repo) is None
    (repo / "refs/main").unlink()
    os.mkfifo(repo / "refs/main")  # which is not waited for
    assert read(repo) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to have files of other users")
@pytest.mark.parametrize("name", ["refs/v1", "blobs", f"snapshots/{COMMIT}", f"snapshots/{COMMIT}/q8"])
def test_what_a_third_user_put_there_does_not_count(name: str, repo: pathlib.Path) -> None:
    """In a folder where everyone may write, another user could name other weights."""
    (repo / "refs/main").rename(repo / "refs/v1")
    os.chown(repo.parent, 12345, 12345)
    os.chown(repo / name, 12345, 12345)
    assert read(repo, "v1") is not None
    os.chown(repo / name, 23456, 23456)
    assert read(repo, "v1") is None
    os.chown(repo / name, 12345, 12345)
    os.chown(repo / "snapshots", 23456, 23456)
    assert read(repo) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to have files of other users")
def test_a_blob_of_a_third_user_is_left_out(repo: pathlib.Path) -> None:
    os.chown(repo / "blobs" / FIRST, 23456, 23456)
    held = read(repo)
    assert held is not None
    assert [file.sha256 for file in held.files] == [SECOND]


def test_a_huge_or_deep_snapshot_ends(repo: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "_MOST_ENTRIES", 20)
    folder = repo / "snapshots" / COMMIT
    for number in range(100):
        (folder / f"Z{number:03}.gguf").symlink_to(f"../../blobs/{FIRST}")
    held = read(repo)
    assert held is not None
    assert len(held.files) <= 20
    deep = folder.joinpath(*["A"] * 30)
    deep.mkdir(parents=True)
    (deep / "Deep.gguf").symlink_to("../" * 32 + f"blobs/{FIRST}")
    held = read(repo)
    assert held is not None
    assert "Deep.gguf" not in {os.path.basename(file.path) for file in held.files}
