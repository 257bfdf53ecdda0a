# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test what a file is by its header, with headers as llama.cpp's converters write them."""

from __future__ import annotations

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.files import (
    ADAPTER,
    DRAFT,
    MATRIX,
    MODEL,
    PROJECTOR,
    VOCABULARY,
    Candidate,
    ListedFile,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.kind import FIRST, kind_reader, read_kind
from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.types import TEXT
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError
from ansible_collections.llama_fleet.core.tests.unit.fakes.gguf import (
    LLAMA,
    Remote,
    array,
    gguf,
    number,
    pair,
    tensor,
    text,
)


def value(key: str, said: str) -> bytes:
    return pair(key, TEXT, text(said))


def architecture(name: str) -> bytes:
    return value("general.architecture", name)


# 200,000 words, so that a vocabulary is longer than the first block.
VOCABULARY_KEY = array("tokenizer.ggml.tokens", TEXT, 200_000, text("word") * 200_000)
LAYER, HEAD = tensor("blk.0.attn_q.weight"), tensor("blk.40.nextn.eh_proj.weight", offset=1024)


@pytest.mark.parametrize(
    ("pairs", "kind"),
    [
        ([LLAMA], MODEL),
        ([LLAMA, value("general.type", "model")], MODEL),
        # convert_lora_to_gguf.py, and the same before general.type came
        ([value("general.type", "adapter"), LLAMA, value("adapter.type", "lora")], ADAPTER),
        ([LLAMA, value("adapter.type", "lora")], ADAPTER),
        # convert_hf_to_gguf.py --mmproj, and llava's own converter
        ([architecture("clip"), value("general.type", "mmproj")], PROJECTOR),
        ([architecture("clip")], PROJECTOR),
        # llama-imatrix, which names no architecture
        ([value("general.type", "imatrix"), number("imatrix.chunk_count", 5)], MATRIX),
        ([LLAMA, value("general.type", "vocab")], VOCABULARY),
        ([architecture("eagle3")], DRAFT),
        ([architecture("dflash")], DRAFT),
        ([architecture("gemma4-assistant")], DRAFT),
        # Qwen's own MTP head is part of the model.
        ([architecture("qwen35moe"), number("qwen35moe.nextn_predict_layers", 1)], MODEL),
        ([number("imatrix.chunk_count", 5)], ""),
        ([architecture("llama-assistants")], MODEL),
    ],
)
def test_the_keys_tell_without_the_vocabulary(pairs: list[bytes], kind: str) -> None:
    file = Remote(gguf(*pairs, VOCABULARY_KEY))
    assert read_kind(file.read, file.size, "there") == kind
    assert file.asked == [(0, FIRST)]


@pytest.mark.parametrize(
    ("tensors", "kind"),
    [
        ([LAYER, HEAD], MODEL),
        ([tensor("blk.40.nextn.eh_proj.weight"), tensor("token_embd.weight", offset=1024)], DRAFT),
        ([tensor("mtp.fc.weight")], DRAFT),
        ([tensor("blk.0.attn_q.weight.lora_a")], ADAPTER),
        ([tensor("output_norm.weight")], MODEL),
    ],
)
def test_only_the_tensors_tell_a_head_from_a_model(tensors: list[bytes], kind: str) -> None:
    content = gguf(architecture("qwen3next"), VOCABULARY_KEY, tensors=tensors, data=1024 * len(tensors))
    file = Remote(content)
    assert read_kind(file.read, file.size, "there", with_tensors=True) == kind
    assert read_kind(file.read, file.size, "there") == MODEL


@pytest.mark.parametrize("content", [b"<html>", b"", b"GGUF", b"GGUF" + b"\xff" * 100, gguf(LLAMA, counts=(0, 10**9))])
def test_a_header_that_cannot_be_read(content: bytes) -> None:
    file = Remote(content)
    with pytest.raises(ProblemError):
        read_kind(file.read, file.size, "there")
    candidate = Candidate("", (ListedFile("a.gguf", file.size),))
    assert kind_reader(lambda _file: file.read, "o/r")(candidate) == ""


def test_the_tensors_are_read_only_if_the_name_hints_at_a_head() -> None:
    head = [tensor("blk.40.nextn.eh_proj.weight")]
    file = Remote(gguf(architecture("qwen3next"), VOCABULARY_KEY, tensors=head, data=1024))
    kind_of = kind_reader(lambda _file: file.read, "o/r")
    listed = (ListedFile("a.gguf", file.size),)
    assert (kind_of(Candidate("", listed)), kind_of(Candidate("", listed, kind=DRAFT))) == (MODEL, DRAFT)
