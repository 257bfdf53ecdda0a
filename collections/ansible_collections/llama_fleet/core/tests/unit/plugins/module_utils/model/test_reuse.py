# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import os
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.model import reuse

if typing.TYPE_CHECKING:
    import pathlib

    import pytest


def test_a_file_is_linked_in_the_place_of_what_is_there(tmp_path: pathlib.Path) -> None:
    source, part = tmp_path / "a", tmp_path / "new/b"
    source.write_bytes(b"right")
    part.parent.mkdir()
    part.write_bytes(b"wrong")
    assert reuse.take(source, part) is True
    assert part.samefile(source)
    assert part.read_bytes() == b"right"


def test_without_links_it_is_copied_and_looked_at_again(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_arguments: object) -> None:
        raise OSError

    monkeypatch.setattr(os, "link", refuse)
    source = tmp_path / "a"
    source.write_bytes(b"right")
    assert reuse.take(source, tmp_path / "b") is False
    assert (tmp_path / "b").read_bytes() == b"right"
    assert not (tmp_path / "b").samefile(source)
