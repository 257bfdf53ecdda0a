# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test joining shards, and the guess by name and size whether a file is a model."""

from __future__ import annotations

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.files import (
    ADAPTER,
    DRAFT,
    MATRIX,
    MODEL,
    PROJECTOR,
    Candidate,
    ListedFile,
    candidates,
    size_text,
)

MB = 10**6


def guesses(files: dict[str, int]) -> dict[str, tuple[str, bool]]:
    listed = candidates(ListedFile(path, size * MB) for path, size in files.items())
    return {each.path: (each.kind, each.doubtful) for each in listed}


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("mmproj-Foo-F16.gguf", PROJECTOR),
        ("Foo.mmproj-Q8_0.gguf", PROJECTOR),
        ("mmproj/Foo-F16.gguf", PROJECTOR),
        ("Foo-mmproject.gguf", MODEL),
        ("imatrix_unsloth.gguf", MATRIX),
        ("Foo-imatrix-v5.gguf", MATRIX),
        ("Foo-imatrix-Q8_0.gguf", MODEL),
        ("LoRA-SmolLM2-f16.gguf", ADAPTER),
        ("Foo-qlora.gguf", ADAPTER),
        ("MTP/gemma-4-12B-it-Q8_0.gguf", DRAFT),
        ("mtp-Qwen3-Next-80B-A3B.gguf", DRAFT),
        ("Qwen3-8B-eagle3-F16.gguf", DRAFT),
        ("Foo-draft-Q8_0.gguf", DRAFT),
        ("floral-Q8_0.gguf", MODEL),
    ],
)
def test_a_word_of_the_name_hints(path: str, kind: str) -> None:
    assert candidates([ListedFile(path, 1)])[0].kind == kind


def test_a_small_file_is_what_its_name_says_and_of_a_large_one_the_header_decides() -> None:
    listed = {
        "Foo-Q8_0.gguf": 8500,
        "Foo-Q4_K_M-imatrix.gguf": 4500,  # a model made with a matrix
        "Foo-Q4_K_M-imatrix-old.gguf": 5,
        "imatrix.gguf": 4500,
        "Foo-lora-F16.gguf": 100,
        "Foo-lora-merged-Q8_0.gguf": 8500,
        "Foo-MTP-Q8_0.gguf": 8800,
        "mtp-Foo-Q8_0.gguf": 400,
        "mmproj-F16.gguf": 9000,
    }
    assert [path for path, (_kind, doubtful) in guesses(listed).items() if doubtful] == [
        "Foo-MTP-Q8_0.gguf",
        "Foo-Q4_K_M-imatrix.gguf",
        "Foo-lora-merged-Q8_0.gguf",
    ]


def test_alone_every_name_is_doubtful() -> None:
    assert guesses({"LoRA-SmolLM2-f16.gguf": 1}) == {"LoRA-SmolLM2-f16.gguf": (ADAPTER, True)}
    assert guesses({"Foo-Q4_K_M-imatrix.gguf": 1}) == {"Foo-Q4_K_M-imatrix.gguf": (MATRIX, True)}


def test_shards_are_one_model() -> None:
    shards = [ListedFile(f"BF16/Foo-BF16-0000{number}-of-00003.gguf", number) for number in (3, 1)]
    (model,) = candidates(shards)
    assert [file.size for file in model.files] == [1, 3]
    assert model.missing == ("BF16/Foo-BF16-00002-of-00003.gguf",)


def test_sizes() -> None:
    assert (size_text(98362432), size_text(1_500_000_000)) == ("98.4 MB", "1.5 GB")
    shards = (ListedFile("a-00001-of-00002.gguf", 10**9), ListedFile("a-00002-of-00002.gguf", 10**9))
    assert str(Candidate("Q8_0", shards)) == "Q8_0 (a-00001-of-00002.gguf and 1 more, 2.0 GB)"


@pytest.mark.parametrize(
    ("path", "quant", "label", "called"),
    [
        ("a-Q8_0.gguf", "Q8_0", "Q8_0", "Q8_0"),
        ("a-smol-Q8_0.gguf", "Q8_0", "smol-Q8_0", "smol-Q8_0"),
        ("old/a-Q8_0.gguf", "Q8_0", "old/a-Q8_0", "Q8_0"),
        ("a.gguf", "", "a", ""),
        ("a-q4.gguf", "", "q4", "q4"),
        ("a-Q8_0.gguf", "Q8_0", "x" * 101, "Q8_0"),
        ("a-Q8_0.gguf", "Q8_0", "", "Q8_0"),
    ],
)
def test_what_results_call_it(path: str, quant: str, label: str, called: str) -> None:
    assert Candidate(quant, (ListedFile(path, 1),), label=label).called == called
