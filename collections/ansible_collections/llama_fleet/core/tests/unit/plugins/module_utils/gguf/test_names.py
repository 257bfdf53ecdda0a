# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test labels with the file names of public repositories."""

from __future__ import annotations

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.files import MODEL, ListedFile, candidates
from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.names import Index

# Of each file that is a model: its path (of a split one, the first shard), and the label that is listed for it.
PUBLIC = {
    "noctrex: a recipe behind the quant": {
        "Qwen3-Coder-Next-MXFP4_MOE_BF16.gguf": "MXFP4_MOE_BF16",
        "Qwen3-Coder-Next-MXFP4_MOE_F16.gguf": "MXFP4_MOE_F16",
    },
    "byteshape: bits per weight": {
        "Qwen3.6-35B-A3B-IQ4_XS-3.53bpw.gguf": "IQ4_XS-3.53bpw",
        "Qwen3.6-35B-A3B-IQ4_XS-3.97bpw.gguf": "IQ4_XS-3.97bpw",
        "Qwen3.6-35B-A3B-Q3_K_S-2.69bpw.gguf": "Q3_K_S",
    },
    "ubergarm: a folder for each recipe": {
        "IQ4_KSS/DeepSeek-V3.1-IQ4_KSS-00001-of-00001.gguf": "IQ4_KSS",
        "smol-IQ4_KSS/DeepSeek-V3.1-smol-IQ4_KSS-00001-of-00001.gguf": "smol-IQ4_KSS",
        "smol-IQ2_KS/DeepSeek-V3.1-smol-IQ2_KS-00001-of-00001.gguf": "IQ2_KS",
    },
    "ubergarm: one recipe in the root": {
        "Qwen3-30B-A3B-mix-IQ4_K.gguf": "mix-IQ4_K",
        "IQ4_K/Qwen3-30B-A3B-IQ4_K-00001-of-00001.gguf": "IQ4_K",
    },
    "mudler: names of its own": {
        "Step-3.5-Flash-APEX-Balanced.gguf": "Balanced",
        "Step-3.5-Flash-APEX-Compact.gguf": "Compact",
        "Step-3.5-Flash-APEX-I-Balanced.gguf": "I-Balanced",
        "Step-3.5-Flash-APEX-I-Compact.gguf": "I-Compact",
        "Step-3.5-Flash-APEX-Quality.gguf": "Quality",
    },
    "microsoft: less than a quant": {
        "Phi-3-mini-4k-instruct-fp16.gguf": "F16",
        "Phi-3-mini-4k-instruct-q4.gguf": "q4",
    },
    "prism-ml: a group size": {"Bonsai-8B-Q1_0_g128.gguf": "Q1_0_g128", "Bonsai-8B-Q1_0_g64.gguf": "Q1_0_g64"},
    "unsloth: dynamic quants beside plain ones": {
        "Qwen3-Next-80B-A3B-Instruct-Q4_K_M.gguf": "Q4_K_M",
        "Qwen3-Next-80B-A3B-Instruct-UD-Q4_K_XL.gguf": "UD-Q4_K_XL",
        "Qwen3-Next-80B-A3B-Instruct-UD-TQ1_0.gguf": "UD-TQ1_0",
        "BF16/Qwen3-Next-80B-A3B-Instruct-BF16-00001-of-00001.gguf": "BF16",
    },
    "bartowski: large embeddings": {
        "Llama-3.3-70B-Instruct-Q4_K_L.gguf": "Q4_K_L",
        "Llama-3.3-70B-Instruct-Q4_K_M.gguf": "Q4_K_M",
        "Llama-3.3-70B-Instruct-IQ2_M.gguf": "IQ2_M",
        "Llama-3.3-70B-Instruct-Q8_0/Llama-3.3-70B-Instruct-Q8_0-00001-of-00001.gguf": "Q8_0",
    },
    "mradermacher: i1 in every name": {
        "Foo-8B.i1-IQ3_XXS.gguf": "IQ3_XXS",
        "Foo-8B.i1-Q4_K_M.gguf": "Q4_K_M",
        "Foo-8B.i1-Q4_0.gguf": "Q4_0",
    },
    "Qwen: small letters": {
        "qwen2.5-7b-instruct-q4_k_m-00001-of-00001.gguf": "Q4_K_M",
        "qwen2.5-7b-instruct-fp16-00001-of-00001.gguf": "F16",
    },
    "TheBloke: dots": {"llama-2-7b.Q4_K_M.gguf": "Q4_K_M", "llama-2-7b.Q2_K.gguf": "Q2_K"},
    "ZeroWw: the embeddings' type before the rest's": {
        "Foo-7B.f16.q6.gguf": "f16.q6",
        "Foo-7B.f16.gguf": "F16",
        "Foo-7B.q8_0.gguf": "Q8_0",
    },
    "several models of one author": {
        "gemma-3-1b-it-Q8_0.gguf": "1b-it-Q8_0",
        "gemma-3-4b-it-Q8_0.gguf": "4b-it-Q8_0",
        "embeddinggemma-300M-Q8_0.gguf": "300M-Q8_0",
    },
    "the same names in two folders": {
        "base/model-Q4_0.gguf": "base",
        "chat/model-Q4_0.gguf": "chat",
    },
    "a folder for each quant, names without": {"Q4_K_M/model.gguf": "Q4_K_M", "Q8_0/model.gguf": "Q8_0"},
    "localweights: what the head is kept in": {
        "Qwen3.6-35B-A3B-MTP-IQ4_XS-Q8nextn.gguf": "IQ4_XS-Q8nextn",
        "Qwen3.6-35B-A3B-MTP-IQ4_XS.gguf": "IQ4_XS",
    },
    "llamafile: one file without a quant": {"TinyLLama-v0.gguf": "TinyLLama-v0"},
    "whole and split": {"a-Q8_0.gguf": "Q8_0", "a-Q8_0-00001-of-00001.gguf": "a-Q8_0-00001-of-00001.gguf"},
    "names that differ in case only": {"A-Q8_0.gguf": "A-Q8_0.gguf", "a-Q8_0.gguf": "a-Q8_0.gguf"},
}


def index_of(paths: list[str]) -> Index:
    return Index(candidates(ListedFile(path, 1000) for path in paths))


@pytest.mark.parametrize("repository", PUBLIC)
def test_the_listed_labels(repository: str) -> None:
    listed = {each.path: each.label for each in index_of([*PUBLIC[repository], "mmproj-F16.gguf"]).labelled()}
    assert listed == {**PUBLIC[repository], "mmproj-F16.gguf": "mmproj-F16"}


@pytest.mark.parametrize("repository", PUBLIC)
def test_a_label_is_found_in_any_case_and_means_one_file(repository: str) -> None:
    index = index_of([*PUBLIC[repository], "imatrix.gguf"])
    for path, label in PUBLIC[repository].items():
        for text in {label, path} if label == path else {label, label.upper(), label.lower(), path}:
            assert [each.path for each in index.find(text)] == [path], text


@pytest.mark.parametrize(
    ("wanted", "paths", "meant"),
    [
        # A word that every file ends with, and those that say more than the label.
        ("Q1_0_g128", ["Bonsai-8B-Q1_0_g128.gguf"], ["Bonsai-8B-Q1_0_g128.gguf"]),
        ("Q4_K_M-imatrix", ["Foo-Q4_K_M-imatrix.gguf"], ["Foo-Q4_K_M-imatrix.gguf"]),
        ("3.53bpw", ["Foo-IQ4_XS-3.53bpw.gguf", "Foo-IQ4_XS-3.9bpw.gguf"], ["Foo-IQ4_XS-3.53bpw.gguf"]),
        ("i1-Q4_K_M", ["Foo.i1-Q4_K_M.gguf"], ["Foo.i1-Q4_K_M.gguf"]),
        (
            "Phi-3-mini-4k-instruct-q4.gguf",
            ["sub/phi-3-mini-4k-instruct-Q4.gguf"],
            ["sub/phi-3-mini-4k-instruct-Q4.gguf"],
        ),
        ("Foo-Q8_0", ["Foo-Q8_0.gguf", "Bar-Q8_0.gguf"], ["Foo-Q8_0.gguf"]),
        ("I_Compact", ["Foo-I-Compact.gguf", "Foo-Compact.gguf"], ["Foo-I-Compact.gguf"]),
        # Several are meant, or none.
        ("Q8_0", ["Foo-Q8_0.gguf", "Bar-Q8_0.gguf"], ["Bar-Q8_0.gguf", "Foo-Q8_0.gguf"]),
        ("BF16", ["Foo-MXFP4_MOE_BF16.gguf"], []),
        ("MOE", ["Foo-MXFP4_MOE.gguf"], []),
        ("Q4_K", ["Foo-Q4_K_M.gguf"], []),
        ("Q4_K_XL", ["Foo-UD-Q4_K_XL.gguf"], []),
        ("Compact", ["Foo-Uncompact.gguf"], []),
        ("Q8_0", ["Foo-Q8_0-it-Q4_K_M.gguf"], []),
        ("", ["Foo-Q8_0.gguf"], []),
        ("/", ["Foo-Q8_0.gguf"], []),
        # The name of a companion is no name of a model.
        ("F16", ["mmproj-F16.gguf"], []),
        ("mmproj-f16", ["mmproj-F16.gguf"], ["mmproj-F16.gguf"]),
    ],
)
def test_what_a_label_means(wanted: str, paths: list[str], meant: list[str]) -> None:
    assert [each.path for each in index_of(paths).find(wanted)] == meant


def test_twenty_thousand_files_are_labelled() -> None:
    paths = [f"m{number}/Foo-{number}B-Q4_K_M.gguf" for number in range(10_000)]
    paths += [f"Bar-Q8_0-{number}bpw.gguf" for number in range(10_000)]
    labels = [each.label for each in index_of(paths).labelled()]
    assert len(set(labels)) == 20_000
    assert labels[:2] == ["Q8_0-0bpw", "Q8_0-1000bpw"]


def test_a_name_of_very_many_words_is_reached_by_its_path() -> None:
    paths = ["-".join(["a"] * 2000) + ".gguf", "-".join(["a"] * 1999) + ".gguf"]
    index = index_of(paths)
    labels = {each.path: each.label for each in index.labelled()}
    assert labels == {path: path for path in paths}
    assert all(each.kind == MODEL for each in index.candidates)
