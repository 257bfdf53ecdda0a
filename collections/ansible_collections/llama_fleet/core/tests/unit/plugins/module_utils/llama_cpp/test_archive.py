# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test that a source archive is hashed each time before it is used, wherever it lies."""

from __future__ import annotations

import hashlib
import os
import pathlib
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch import verified
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.index import IndexFile
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp import archive
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.source import Archive
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.progress import Progress

RIGHT, WRONG = b"the source", b"the others"
SUM = hashlib.sha256(RIGHT).hexdigest()


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Fake a server that has the right bytes; return the addresses that were requested."""
    asked: list[str] = []

    def fetch(url: str, target: pathlib.Path, _sha256: str, _variable: str, **_more: typing.Any) -> None:
        asked.append(url)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(RIGHT)

    monkeypatch.setattr(archive, "fetch", fetch)
    return asked


def obtained(reference: str, root: pathlib.Path) -> bytes:
    with archive.obtain(Archive(reference, SUM), root, "", Progress()) as file:
        return file.read()


def test_one_that_was_kept_and_changed_since_is_fetched_again(tmp_path: pathlib.Path, fetched: list[str]) -> None:
    url = "https://example.org/llama.cpp.tar.gz"
    for already, count in ((None, 1), (RIGHT, 1), (WRONG, 2)):
        if already:
            archive.kept_archive(Archive(url, SUM), tmp_path).write_bytes(already)
        assert obtained(url, tmp_path) == RIGHT
        assert fetched == [url] * count


def test_one_on_the_host_with_another_sum_is_not_used(tmp_path: pathlib.Path, fetched: list[str]) -> None:
    path = tmp_path / "llama.cpp.tar.gz"
    path.write_bytes(WRONG)
    with pytest.raises(
        ProblemError, match=f"expected sha256 {SUM}, found sha256 {hashlib.sha256(WRONG).hexdigest()} of {path}"
    ):
        obtained(str(path), tmp_path / "root")
    path.write_bytes(RIGHT)
    assert obtained(str(path), tmp_path / "root") == RIGHT
    assert fetched == []


def test_what_others_may_write_to_is_read_once(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "file"
    for mode, said in ((0o644, WRONG), (0o666, RIGHT), (0o664, RIGHT)):
        path.write_bytes(RIGHT)
        path.chmod(mode)
        file, digest = verified.opened(path, tmp_path / "scratch")
        path.write_bytes(WRONG)
        with file:
            assert (digest, file.read()) == (SUM, said), f"{mode:o}"


def test_what_is_no_file_is_not_waited_for(tmp_path: pathlib.Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, pathlib.Path("/dev/zero")):
        with pytest.raises(OSError, match=r"no regular file|Is a directory"):
            verified.opened(path, tmp_path / "scratch")


def test_an_address_from_the_plan_is_used_and_else_the_index_asked(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, fetched: list[str]
) -> None:
    asked: list[str] = []

    def find(index: str, *_more: object) -> IndexFile:
        asked.append(index)
        return IndexFile("x-1.tar.gz", "https://files/new.tar.gz", SUM, 3, index)

    def moved(url: str, target: pathlib.Path, sha256: str, variable: str, **more: typing.Any) -> None:
        if "gone" in url:
            raise ProblemError(Problem(variable, "HTTP status 404", "the file"))
        there(url, target, sha256, variable, **more)

    there = archive.fetch
    monkeypatch.setattr(archive, "fetch", moved)
    monkeypatch.setattr(archive.package_index, "find_file", find)
    for place, requests in (("https://files/x", 0), ("https://files/gone", 1), ("", 1)):
        asked.clear()
        root = tmp_path / str(requests) / (place or "x").rpartition("/")[2]
        with archive.obtain(Archive("pypi:x==1", SUM), root, "https://index", Progress(), (place, 3)) as file:
            assert file.read() == RIGHT
        assert len(asked) == requests
    assert fetched == ["https://files/x", "https://files/new.tar.gz", "https://files/new.tar.gz"]
