# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test that a header's bytes are fetched in growing blocks, within their limits, and taken apart."""

from __future__ import annotations

import struct

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.reader import (
    FIRST_BLOCK,
    LARGEST_BLOCK,
    LONGEST,
    Reader,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError


class File:
    """A file of zeros behind ``content``; ``blocks`` are the sizes of the blocks that were read from it."""

    def __init__(self, content: bytes = b"", size: int = 0) -> None:
        self.content = content
        self.size = size or len(content)
        self.blocks: list[int] = []

    def read(self, begin: int, end: int) -> bytes:
        self.blocks.append(end - begin)
        return self.content[begin:end].ljust(min(end, self.size) - begin, b"\0")

    def reader(self) -> Reader:
        return Reader(self.read, self.size, "x.gguf", "variable")


def text(word: bytes) -> bytes:
    return struct.pack("<Q", len(word)) + word


def test_blocks_double_up_to_the_largest() -> None:
    file = File(size=LONGEST * 2)
    file.reader().require(LONGEST)
    assert file.blocks[:3] == [FIRST_BLOCK, FIRST_BLOCK, 2 * FIRST_BLOCK]
    assert max(file.blocks) == LARGEST_BLOCK
    assert sum(file.blocks) == LONGEST


def test_a_header_ends_at_its_limit_and_at_the_end_of_its_file() -> None:
    with pytest.raises(ProblemError, match=r"variable: .*a header of more than 40 MiB in x.gguf"):
        File(size=LONGEST * 2).reader().require(LONGEST + 1)
    with pytest.raises(ProblemError, match="a header that goes on at byte 9 of 8 in x"):
        File(b"8 bytes.").reader().skip(9)


def test_a_short_answer_is_no_header() -> None:
    file = File(b"GGUF" + bytes(10))
    file.size = 20
    reader = Reader(lambda begin, end: file.content[begin:end], 20, "x.gguf", "variable")
    with pytest.raises(ProblemError, match="14 bytes instead of 20 from byte 0 on"):
        reader.require(15)


def test_values_and_texts_are_read_in_order() -> None:
    reader = File(struct.pack("<IQ", 7, 8) + text(b"skipped") + text(b"") + text("ü".encode())).reader()
    assert reader.peek(4) == struct.pack("<I", 7)
    assert reader.take("<IQ") == (7, 8)
    reader.skip_texts(2)
    assert reader.text(2, "a key") == "ü"
    assert (reader.position, reader.peek(1)) == (reader.size, b"")


@pytest.mark.parametrize(("word", "found"), [(b"long", "a key of 4 bytes"), (b"\xff", "a key that is not UTF-8")])
def test_a_text_has_a_limit_and_an_encoding(word: bytes, found: str) -> None:
    with pytest.raises(ProblemError, match=f"{found} in x.gguf"):
        File(text(word)).reader().text(3, "a key")
