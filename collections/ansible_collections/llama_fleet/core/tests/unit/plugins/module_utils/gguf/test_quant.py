# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test finding the known quants in file names."""

from __future__ import annotations

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.quant import label, quant_of, words_of


@pytest.mark.parametrize(
    ("path", "quant"),
    [
        ("Foo-Q4_K_M.gguf", "Q4_K_M"),
        ("foo.q4_k_m.gguf", "Q4_K_M"),
        ("foo_Q8_0.GGUF", "Q8_0"),
        ("Foo-UD-Q4_K_XL.gguf", "UD-Q4_K_XL"),
        ("Foo.i1-IQ3_XXS.gguf", "IQ3_XXS"),
        ("Foo-F16-Q4_K_M.gguf", "Q4_K_M"),
        ("foo-fp16.gguf", "F16"),
        ("foo-BF16-00001-of-00002.gguf", "BF16"),
        ("gpt-oss-20b-mxfp4.gguf", "MXFP4"),
        ("Foo-MXFP4_MOE.gguf", "MXFP4_MOE"),
        ("Foo-Q4_0_4_8.gguf", "Q4_0_4_8"),
        ("Foo-TQ1_0.gguf", "TQ1_0"),
        ("SmolLM2-135M-Instruct.Q4_1.gguf", "Q4_1"),
        ("Q4_K_M/model.gguf", "Q4_K_M"),
        ("UD-Q2_K_XL/Foo-00001-of-00002.gguf", "UD-Q2_K_XL"),
        ("Foo-Q4_K_M-GGUF/Foo.gguf", "Q4_K_M"),
        ("Foo-7B-v1.0.gguf", ""),
        ("Foo-Q4_NL.gguf", ""),
        ("AQ4_K_M.gguf", ""),
        ("foo_UD_Q4_K_XL.gguf", "UD-Q4_K_XL"),
        ("foo_ud-iq1_s.gguf", "UD-IQ1_S"),
        ("Foo-STUD-Q4_K_XL.gguf", "Q4_K_XL"),
        ("Foo-IQ4_NL.gguf", "IQ4_NL"),
        ("Foo-Q2_K_L.gguf", "Q2_K_L"),
        ("Foo-MXFP4_MOE_BF16.gguf", "MXFP4_MOE"),
        ("Foo-MXFP4_MOE-F16.gguf", "MXFP4_MOE"),
        ("Foo_F16_Q4_K_M.gguf", "Q4_K_M"),
        ("Foo-Q8_0-Q4_K_M.gguf", "Q4_K_M"),
        ("Foo-BF16-F32.gguf", "F32"),
        ("Bonsai-8B-Q1_0_g128.gguf", "Q1_0"),
        ("Foo-IQ4_XS-3.53bpw.gguf", "IQ4_XS"),
        ("Foo-IQ4_XS-Q8nextn.gguf", "IQ4_XS"),
    ],
)
def test_quant_of_a_name(path: str, quant: str) -> None:
    assert quant_of(path) == quant


@pytest.mark.parametrize(
    ("text", "found"),
    [("q4_k_m", "Q4_K_M"), ("ud-iq1_s", "UD-IQ1_S"), ("FP16", "F16"), ("latest", ""), ("Q4_NL", ""), ("", "")],
)
def test_label(text: str, found: str) -> None:
    assert label(text) == found


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Foo-7B.Q4_K_M", ["foo", "7b", "q4_k_m"]),
        ("foo_ud_q4_k_xl", ["foo", "ud-q4_k_xl"]),
        ("Foo-IQ4_XS-3.53bpw", ["foo", "iq4_xs", "3.53bpw"]),
        ("Llama-3.2-1B-fp16", ["llama", "3.2", "1b", "f16"]),
        ("Foo-MXFP4_MOE_BF16", ["foo", "mxfp4_moe", "bf16"]),
        ("-._ ", []),
    ],
)
def test_a_known_quant_is_one_word(text: str, words: list[str]) -> None:
    assert [word.key for word in words_of(text)] == words
