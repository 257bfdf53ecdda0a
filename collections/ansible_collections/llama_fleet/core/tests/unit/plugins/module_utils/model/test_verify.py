# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import dataclasses
import hashlib
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.model import verify
from ansible_collections.llama_fleet.core.plugins.module_utils.model.store import StoredFile, stored_file
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.progress import Progress

if typing.TYPE_CHECKING:
    import pathlib

CONTENT = b"GGUF and more"
SUM = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def record(tmp_path: pathlib.Path) -> StoredFile:
    (tmp_path / "m").write_bytes(CONTENT)
    return stored_file(tmp_path, "m", SUM)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the names of the files that are read whole from now on."""
    names: list[str] = []
    hashed = verify.hashed_file
    monkeypatch.setattr(verify, "hashed_file", lambda base, name, seen: names.append(name) or hashed(base, name, seen))
    return names


def test_no_file_is_read_twice(tmp_path: pathlib.Path, record: StoredFile, read: list[str]) -> None:
    checker = verify.Checker(Progress())
    assert checker.right(tmp_path, "m", len(CONTENT), SUM) == record
    assert checker.right(tmp_path, "m", 0, SUM) == record
    assert read == ["m"]


def test_the_word_of_an_earlier_run_counts_unless_all_is_to_be_read(
    tmp_path: pathlib.Path, record: StoredFile, read: list[str]
) -> None:
    assert verify.Checker(Progress()).right(tmp_path, "m", 0, SUM, record) == record
    assert read == []
    assert verify.Checker(Progress(), always=True).right(tmp_path, "m", 0, SUM, record) == record
    assert read == ["m"]


def test_a_file_of_another_size_is_not_even_read(tmp_path: pathlib.Path, record: StoredFile, read: list[str]) -> None:
    checker = verify.Checker(Progress())
    assert checker.right(tmp_path, "m", len(CONTENT) + 1, SUM) is None
    assert checker.right(tmp_path, "none", 0, SUM) is None
    assert read == []
    assert checker.right(tmp_path, "m", 0, "0" * 64, dataclasses.replace(record, sha256="0" * 64, inode=0)) is None
    assert read == ["m"]


def test_a_file_that_was_verified_on_its_way_is_trusted_as_it_is(
    tmp_path: pathlib.Path, record: StoredFile, read: list[str]
) -> None:
    checker = verify.Checker(Progress())
    checker.trust(tmp_path, "m", SUM)
    assert checker.right(tmp_path, "m", 0, SUM) == record
    assert read == []
    (tmp_path / "m").write_bytes(b"other bytes")
    assert checker.right(tmp_path, "m", 0, SUM) is None


def test_a_verified_file_gets_its_name_and_nothing_is_left(tmp_path: pathlib.Path) -> None:
    part, target = tmp_path / "parts/m", tmp_path / "models/x/m.gguf"
    part.parent.mkdir()
    for path in (part, *verify.leftovers(part)):
        path.write_bytes(b"GGUF")
    verify.place(part, target)
    assert target.read_bytes() == b"GGUF"
    assert list(part.parent.iterdir()) == []


def test_what_is_no_model_gets_no_name(tmp_path: pathlib.Path) -> None:
    part = tmp_path / "m"
    part.write_bytes(b"<html>")
    with pytest.raises(ProblemError, match="an HTML or XML page"):
        verify.place(part, tmp_path / "m.gguf")
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_the_bytes_of_a_download_that_broke_off_count(tmp_path: pathlib.Path) -> None:
    part = tmp_path / "m"
    assert verify.taken(part) == 0
    verify.leftovers(part)[0].write_bytes(bytes(1 << 16))
    assert verify.taken(part) >= 1 << 16
