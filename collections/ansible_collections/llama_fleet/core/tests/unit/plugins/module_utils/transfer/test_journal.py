# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import os
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.transfer.journal import PartFile
from ansible_collections.llama_fleet.core.plugins.module_utils.transfer.segments import waiting_bytes

if typing.TYPE_CHECKING:
    import pathlib

SEGMENT = 1 << 16
DATA = bytes(range(256)) * (SEGMENT // 256)


@pytest.fixture
def disk(tmp_path: pathlib.Path) -> PartFile:
    """Return a file of two segments, of which the first was written and noted."""
    made = PartFile(tmp_path / "x", SEGMENT, SEGMENT, "0" * 64, ["http://a"])
    made.open()
    made.reserve()
    return made


def noted(monkeypatch: pytest.MonkeyPatch, *names: str) -> list[str]:
    """Return the names of those functions of ``os`` in the order in which they are called from now on."""
    done: list[str] = []
    for name in names:
        function = getattr(os, name)
        monkeypatch.setattr(
            os, name, lambda *given, _name=name, _function=function: done.append(_name) or _function(*given)
        )
    return done


def test_the_journal_is_written_after_the_bytes_are_safe(
    tmp_path: pathlib.Path, disk: PartFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = noted(monkeypatch, "pwrite", "fdatasync", "replace")
    disk.write(memoryview(DATA), 0)
    disk.commit(0, disk.letter(0))
    disk.close()
    assert done == ["pwrite", "fdatasync", "replace"]
    assert waiting_bytes(tmp_path / "x") == SEGMENT


def test_the_file_is_safe_before_it_has_its_name(
    tmp_path: pathlib.Path, disk: PartFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk.write(memoryview(DATA), 0)
    disk.commit(0, disk.letter(0))
    done = noted(monkeypatch, "fsync", "replace")
    disk.finish()
    disk.close()
    assert done[:2] == ["fsync", "replace"]
    assert (tmp_path / "x").read_bytes() == DATA


def test_what_the_kernel_takes_in_pieces_is_written_whole(
    tmp_path: pathlib.Path, disk: PartFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    pwrite = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda descriptor, view, position: pwrite(descriptor, view[:1000], position))
    disk.write(memoryview(DATA), 0)
    disk.commit(0, disk.letter(0))
    disk.finish()
    disk.close()
    assert (tmp_path / "x").read_bytes() == DATA
