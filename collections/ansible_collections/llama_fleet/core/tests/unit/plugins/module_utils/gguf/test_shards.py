# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test parsing the file names of split models."""

from __future__ import annotations

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.shards import parse_shard


@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("a-00001-of-00002.gguf", ("a-00001-of-00002.gguf", "a-00002-of-00002.gguf")),
        ("a-00002-of-00002.GGUF", ("a-00001-of-00002.GGUF", "a-00002-of-00002.GGUF")),
        ("a.gguf", None),
        ("a-00003-of-00002.gguf", None),
        ("a-00000-of-00002.gguf", None),
        ("a-1-of-2.gguf", None),
    ],
)
def test_shards(name: str, names: tuple[str, ...] | None) -> None:
    shard = parse_shard(name)
    assert (shard.names if shard else None) == names
