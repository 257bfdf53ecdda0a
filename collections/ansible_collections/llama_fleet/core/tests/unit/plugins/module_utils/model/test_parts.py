# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.model import parts
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError

if typing.TYPE_CHECKING:
    import pathlib


def test_a_verified_file_gets_its_name_and_nothing_is_left(tmp_path: pathlib.Path) -> None:
    part, target = tmp_path / "parts/m", tmp_path / "models/x/m.gguf"
    part.parent.mkdir()
    for path in (part, *parts.leftovers(part)):
        path.write_bytes(b"GGUF")
    parts.place(part, target)
    assert target.read_bytes() == b"GGUF"
    assert list(part.parent.iterdir()) == []


def test_what_is_no_model_gets_no_name(tmp_path: pathlib.Path) -> None:
    part = tmp_path / "m"
    part.write_bytes(b"<html>")
    with pytest.raises(ProblemError, match="an HTML or XML page"):
        parts.place(part, tmp_path / "m.gguf")
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_the_bytes_of_a_download_that_broke_off_count(tmp_path: pathlib.Path) -> None:
    part = tmp_path / "m"
    assert parts.taken(part) == 0
    parts.leftovers(part)[0].write_bytes(bytes(1 << 16))
    assert parts.taken(part) >= 1 << 16
