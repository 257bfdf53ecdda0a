# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test looking for a file in the caches of other tools, with names and content that are hostile."""

from __future__ import annotations

import os
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.caches import lookup
from ansible_collections.llama_fleet.core.plugins.module_utils.caches.lookup import Caches, Sought, opened
from ansible_collections.llama_fleet.core.plugins.module_utils.caches.places import (
    BLOBS,
    FLAT,
    HUB,
    NAMED,
    RAMALAMA,
    Place,
)

if typing.TYPE_CHECKING:
    import pathlib

SUM = "ab" * 32
COMMIT = "c0" * 20
SOUGHT = Sought("q4/Model-Q4_K_M.gguf", 5, SUM, "owner/Model-GGUF", COMMIT)


def put(path: pathlib.Path, content: bytes = b"GGUF5") -> pathlib.Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("layout", "name"),
    [
        (HUB, f"models--owner--Model-GGUF/blobs/{SUM}"),
        (HUB, f"models--owner--Model-GGUF/snapshots/{COMMIT}/q4/Model-Q4_K_M.gguf"),  # a disk without links
        (HUB, f"models--former-owner--Model-GGUF/blobs/{SUM}"),  # the repository was moved
        (BLOBS, f"blobs/sha256-{SUM}"),
        (BLOBS, f"blobs/sha256:{SUM}"),
        (BLOBS, f"blobs/sha256/{SUM}"),
        (FLAT, "owner_Model-GGUF_q4_Model-Q4_K_M.gguf"),
        (FLAT, "Model-Q4_K_M.gguf"),
        (NAMED, "owner/Model-GGUF/q4/Model-Q4_K_M.gguf"),
        (RAMALAMA, f"huggingface/owner/Model-GGUF/blobs/sha256-{SUM}"),
        (RAMALAMA, f"huggingface/owner/Model-GGUF/q4/Model-Q4_K_M.gguf/blobs/sha256-{SUM}"),
    ],
)
def test_each_tool_s_name_is_looked_for(layout: str, name: str, tmp_path: pathlib.Path) -> None:
    put(tmp_path / name)
    caches = Caches([Place("/nonexistent", layout), Place(str(tmp_path), layout)])
    copy = caches.find(SOUGHT)
    assert copy is not None
    assert copy.path == str(tmp_path / name)
    with copy.open() as file:
        assert file.read() == b"GGUF5"
    others = {HUB, BLOBS, FLAT, NAMED, RAMALAMA} - {layout}
    assert [Caches([Place(str(tmp_path), other)]).find(SOUGHT) for other in others] == [None] * 4


@pytest.mark.parametrize("layout", [NAMED, RAMALAMA])
def test_a_file_of_no_repository_has_no_name_there(layout: str, tmp_path: pathlib.Path) -> None:
    put(tmp_path / "Model.gguf")
    assert Caches([Place(str(tmp_path), layout)]).find(Sought("Model.gguf", 5, SUM)) is None
    assert Caches([Place(str(tmp_path), FLAT)]).find(Sought("Model.gguf", 5, SUM)) is not None


@pytest.mark.parametrize(
    "sought", [Sought("a.gguf", 6, SUM), Sought("a.gguf", 0, SUM), Sought("a.gguf", 5, ""), Sought("a.gguf", 5, "../a")]
)
def test_without_the_size_and_a_sum_nothing_is_found(sought: Sought, tmp_path: pathlib.Path) -> None:
    put(tmp_path / "a.gguf")
    assert Caches([Place(str(tmp_path), FLAT)]).find(sought) is None


class TestHostile:
    """Content of a cache that could mislead a reader with more rights than the cache's owner."""

    @pytest.fixture
    def blob(self, tmp_path: pathlib.Path) -> pathlib.Path:
        path = tmp_path / "hub" / "models--owner--Model-GGUF" / "blobs" / SUM
        path.parent.mkdir(parents=True)
        return path

    def search(self, tmp_path: pathlib.Path) -> lookup.Copy | None:
        return Caches([Place(str(tmp_path / "hub"), HUB)]).find(SOUGHT)

    def test_a_link_to_a_file_is_not_followed(self, blob: pathlib.Path, tmp_path: pathlib.Path) -> None:
        blob.symlink_to(put(tmp_path / "secret"))
        assert self.search(tmp_path) is None

    def test_a_link_to_a_folder_is_not_followed(self, blob: pathlib.Path, tmp_path: pathlib.Path) -> None:
        put(tmp_path / "elsewhere" / SUM)
        blob.parent.rmdir()
        blob.parent.symlink_to(tmp_path / "elsewhere")
        assert self.search(tmp_path) is None

    def test_a_pipe_or_a_folder_blocks_nothing(self, blob: pathlib.Path, tmp_path: pathlib.Path) -> None:
        os.mkfifo(blob)
        assert self.search(tmp_path) is None
        blob.unlink()
        blob.mkdir()
        assert self.search(tmp_path) is None

    def test_a_pipe_that_replaces_the_file_blocks_nothing(
        self, blob: pathlib.Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        put(blob)
        real = os.stat

        def swapped(path: str, **more: typing.Any) -> os.stat_result:
            status = real(path, **more)
            if path == SUM:
                blob.unlink()
                os.mkfifo(blob)
            return status

        monkeypatch.setattr(os, "stat", swapped)
        with pytest.raises(FileNotFoundError):
            opened(str(blob.parent), SUM)

    def test_a_huge_cache_is_not_listed_whole(self, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(lookup, "_MOST_REPOSITORIES", 3)
        for number in range(9):
            put(tmp_path / "hub" / f"models--a--{number}" / "blobs" / SUM)
        caches = Caches([Place(str(tmp_path / "hub"), HUB)])
        copy = caches.find(SOUGHT)
        assert copy is not None
        assert len(caches._listed(caches.places[0])) == 3

    def test_a_cache_that_is_a_link_itself_is_followed(self, blob: pathlib.Path, tmp_path: pathlib.Path) -> None:
        """Owners move a whole cache to a larger disk."""
        put(blob)
        (tmp_path / "link").symlink_to(tmp_path / "hub")
        assert Caches([Place(str(tmp_path / "link"), HUB)]).find(SOUGHT) is not None

    @pytest.mark.parametrize("name", ["../secret", "a/../../secret"])
    def test_nothing_outside_is_reached_by_a_link_of_a_parent(self, name: str, tmp_path: pathlib.Path) -> None:
        (tmp_path / "hub").mkdir()
        put(tmp_path / "secret")
        (tmp_path / "hub" / "a").symlink_to("/")
        if name.startswith("a/"):
            with pytest.raises(OSError, match="a"):
                opened(str(tmp_path / "hub"), name)
