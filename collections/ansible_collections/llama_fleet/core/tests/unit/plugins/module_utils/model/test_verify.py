# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import dataclasses
import hashlib
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.model import verify
from ansible_collections.llama_fleet.core.plugins.module_utils.model.store import StoredFile, stored_file
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
