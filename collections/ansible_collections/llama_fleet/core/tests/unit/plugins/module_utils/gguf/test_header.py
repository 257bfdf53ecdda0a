# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import os
import pathlib
import struct
import time

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.gguf import tiny_model
from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.header import Header, file_header
from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.quant import label
from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.types import BLOCKS, QUANTS, TEXT
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError
from ansible_collections.llama_fleet.core.tests.unit.fakes.gguf import (
    F32,
    LLAMA,
    Remote,
    array,
    gguf,
    number,
    pair,
    tensor,
    text,
)

MODEL = os.environ.get("LLAMA_FLEET_TEST_MODEL", "")
I32, BOOL, U64, U16 = 5, 7, 10, 2
Q4_K = 12


def test_what_a_header_tells() -> None:
    content = gguf(
        number("llama.context_length", 8192),  # before the architecture is known
        array("tokenizer.ggml.tokens", TEXT, 3, text("a") + text(b"\xff\xfe") + text("")),
        array("tokenizer.ggml.scores", 6, 3, bytes(12)),
        pair("general.name", TEXT, text("Smöl")),
        pair("general.size_label", TEXT, text("135M")),
        pair("llama.block_count", U64, struct.pack("<Q", 30)),
        number("llama.rope.scaling.original_context_length", 2048),
        number("llama.embedding_length", 576),
        number("general.file_type", 15),
        pair("tokenizer.chat_template", TEXT, text("{{ messages }}")),
        pair("tokenizer.ggml.add_bos_token", BOOL, b"\1"),
        LLAMA,
        tensors=[tensor("a", (256, 2, 3), Q4_K, 0), tensor("b", (7,), F32, 864)],
        data=864 + 28,
    )
    header = Remote(content).header()
    assert header == Header(
        "llama", "Smöl", "Q4_K_M", "135M", 8192, 30, 576, 0, 1, True, 2, 1543, len(content) - 892, b""
    )
    assert header.content == content[: header.length]


def test_what_it_does_not_tell_is_empty() -> None:
    assert Remote(gguf(LLAMA)).header() == Header(
        "llama", "", "", "", 0, 0, 0, 0, 1, False, 0, 0, len(gguf(LLAMA)), b""
    )
    assert Remote(gguf(LLAMA, number("general.file_type", 4000))).header().quant == ""
    assert Remote(gguf(LLAMA, number("general.file_type", 0))).header().quant == "F32"
    assert Remote(gguf(LLAMA, version=2)).header().architecture == "llama"
    assert not Remote(gguf(LLAMA, pair("tokenizer.chat_template", TEXT, text("")))).header().has_chat_template


def test_a_later_shard_knows_its_place_and_its_tensors() -> None:
    place = [pair("split.no", U16, struct.pack("<H", 1)), pair("split.count", U16, struct.pack("<H", 3))]
    header = Remote(gguf(*place, pair("split.tensors.count", I32, bytes(4)), tensors=[tensor("a")], data=1024)).header()
    assert (header.architecture, header.split_no, header.split_count, header.parameters) == ("", 1, 3, 256)


def test_alignment_is_the_files_own() -> None:
    content = gguf(
        LLAMA,
        number("general.alignment", 4096),
        tensors=[tensor("a"), tensor("b", offset=4096)],
        data=4096 + 1024,
        align=4096,
    )
    assert Remote(content).header().length == 4096
    unaligned = gguf(
        LLAMA, number("general.alignment", 4096), tensors=[tensor("a"), tensor("b", offset=1024)], data=9999
    )
    with pytest.raises(ProblemError, match=r"expected .*, found the tensor 'b' at 1024 in there"):
        Remote(unaligned).header()


def test_a_type_newer_than_the_table_is_let_through() -> None:
    newer = max(BLOCKS) + 100
    tensors = [tensor("a"), tensor("b", (10,), newer, 1024), tensor("c", (10,), newer, 4096)]
    assert Remote(gguf(LLAMA, tensors=tensors, data=5000)).header().parameters == 276


def test_the_tiny_model(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "tiny.gguf"
    tiny_model.write_tiny_model(path)
    header = file_header(path)
    shapes = [shape for _quant, shape in tiny_model.tensors().values()]
    assert header.parameters == sum(shape[0] * (shape[1] if len(shape) > 1 else 1) for shape in shapes)
    assert (header.architecture, header.name, header.context_length, header.block_count) == ("llama", "tiny", 512, 2)
    path.write_bytes(path.read_bytes()[:-33])
    with pytest.raises(ProblemError, match=r"expected a whole GGUF file.*, found \d+ of \d+ bytes in .*tiny.gguf\."):
        file_header(path)
    with pytest.raises(ProblemError, match=r"which cannot be read \(Is a directory\)"):
        file_header(tmp_path)


@pytest.mark.skipif(not MODEL, reason="needs LLAMA_FLEET_TEST_MODEL, the SmolLM2 of PyPI as a whole or its first shard")
def test_a_real_model() -> None:
    header = file_header(pathlib.Path(MODEL))
    assert (header.architecture, header.quant, header.size_label, header.context_length) == (
        "llama",
        "Q4_1",
        "135M",
        8192,
    )
    assert (header.block_count, header.embedding_length, header.has_chat_template) == (30, 576, True)
    if header.split_count == 1:
        assert (header.tensor_count, header.parameters, header.length) == (272, 134515008, 1785664)


def test_numbers_and_names() -> None:
    assert all(label(name) == name for name in QUANTS.values())
    assert (len(QUANTS), QUANTS[18], QUANTS[30], QUANTS[32], QUANTS[39]) == (36, "Q6_K", "IQ4_XS", "BF16", "NVFP4")
    assert {name: BLOCKS[kind] for kind, name in {8: "Q8_0", 14: "Q6_K", 23: "IQ4_XS", 35: "TQ2_0"}.items()} == {
        "Q8_0": (32, 34),
        "Q6_K": (256, 210),
        "IQ4_XS": (256, 136),
        "TQ2_0": (256, 66),
    }


def test_a_large_vocabulary_takes_few_requests_that_grow() -> None:
    tokens = b"".join(text(f"token {index:06}") for index in range(300_000))
    remote = Remote(
        gguf(LLAMA, array("tokenizer.ggml.tokens", TEXT, 300_000, tokens), number("llama.context_length", 5)), 400 << 30
    )
    started = time.process_time()
    assert remote.header().context_length == 5
    assert time.process_time() - started < 10
    assert [(begin >> 20, end >> 20) for begin, end in remote.asked] == [(0, 1), (1, 2), (2, 4), (4, 8)]
