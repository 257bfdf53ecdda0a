# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.gguf import bytes as gguf_bytes
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError

if typing.TYPE_CHECKING:
    import pathlib


@pytest.mark.parametrize(
    ("first", "kind"),
    [
        (b"", "an empty file"),
        (b"\n<html>", "an HTML or XML page (a login or error page, perhaps)"),
        (b"version https://git-lfs.github.com/spec/v1", "a Git LFS pointer instead of the file"),
        (b"FUGG", "a big-endian GGUF file, which this host cannot use"),
        (b"PK\3\4", "a file that begins with b'PK\\x03\\x04'"),
    ],
)
def test_what_begins_otherwise_is_told_apart(tmp_path: pathlib.Path, first: bytes, kind: str) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(first)
    with pytest.raises(ProblemError) as caught:
        gguf_bytes.require_gguf_file(path, "v")
    assert str(caught.value) == f"v: expected a GGUF file, found {kind} at {path}."


def test_a_gguf_file_passes_and_one_that_cannot_be_read_does_not(tmp_path: pathlib.Path) -> None:
    (tmp_path / "m.gguf").write_bytes(b"GGUF and more")
    gguf_bytes.require_gguf_file(tmp_path / "m.gguf", "v")
    with pytest.raises(ProblemError, match=r"which cannot be read \(No such file or directory\)\.$"):
        gguf_bytes.require_gguf_file(tmp_path / "none.gguf", "v")
