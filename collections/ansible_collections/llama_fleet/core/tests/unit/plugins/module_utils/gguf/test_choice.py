# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test choosing files by label, with every name that a glob or an unanchored pattern would get wrong."""

from __future__ import annotations

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.choice import choose
from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.files import Candidate, ListedFile, size_text
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError


def taken(wanted: str, *paths: str) -> list[str]:
    chosen = choose([ListedFile(path, 1000) for path in paths], wanted, "'o/r'")
    return [file.path for file in chosen.files]


def refused(wanted: str, *paths: str) -> str:
    with pytest.raises(ProblemError) as caught:
        taken(wanted, *paths)
    return str(caught.value)


@pytest.mark.parametrize(
    ("wanted", "paths", "path"),
    [
        ("F16", ["Foo-BF16.gguf", "Foo-F16.gguf"], "Foo-F16.gguf"),
        ("Q8_0", ["Foo-MTP-Q8_0.gguf", "Foo-Q8_0.gguf"], "Foo-Q8_0.gguf"),
        ("Q8_0", ["eagle3-Q8_0.gguf", "Foo-draft-Q8_0.gguf", "Foo-Q8_0.gguf"], "Foo-Q8_0.gguf"),
        ("Q8_0", ["mmproj-Foo-Q8_0.gguf", "Foo.mmproj-Q8_0.gguf", "Foo-Q8_0.gguf"], "Foo-Q8_0.gguf"),
        ("Q8_0", ["Foo-Q8_0-imatrix.gguf", "imatrix-Q8_0.gguf", "Foo-Q8_0.gguf"], "Foo-Q8_0.gguf"),
        ("Q4_K", ["Foo-Q4_K.gguf", "Foo-Q4_K_M.gguf", "Foo-Q4_K_S.gguf"], "Foo-Q4_K.gguf"),
        ("Q2_K", ["Foo-Q2_K_L.gguf", "Foo-Q2_K.gguf"], "Foo-Q2_K.gguf"),
        ("MXFP4", ["Foo-MXFP4.gguf", "Foo-MXFP4_MOE.gguf"], "Foo-MXFP4.gguf"),
        ("Q4_K_XL", ["Foo-UD-Q4_K_XL.gguf", "Foo-Q4_K_XL.gguf"], "Foo-Q4_K_XL.gguf"),
        ("ud-q4_k_xl", ["Foo-UD-Q4_K_XL.gguf", "Foo-Q4_K_XL.gguf"], "Foo-UD-Q4_K_XL.gguf"),
        ("Q4_K_M", ["foo-q4_k_m.gguf", "foo-q8_0.gguf"], "foo-q4_k_m.gguf"),
        ("Q4_K_M", ["old/Foo-Q4_K_M.gguf", "Foo-Q4_K_M.gguf"], "Foo-Q4_K_M.gguf"),
        ("Q8_0", ["Foo-Q8_0-00001-of-00001.gguf.part1of2", "Foo-Q8_0.gguf"], "Foo-Q8_0.gguf"),
        ("", ["Foo-Q8_0.gguf", "Foo-Q4_K_M.gguf", "Foo-F16.gguf"], "Foo-Q4_K_M.gguf"),
        ("", ["Foo-Q8_0.gguf", "Foo-Q6_K.gguf", "Foo-F16.gguf"], "Foo-Q8_0.gguf"),
        ("", ["Foo-IQ2_XS.gguf", "mmproj-F16.gguf", "README.md"], "Foo-IQ2_XS.gguf"),
        ("", ["Foo.gguf", "imatrix_unsloth.gguf"], "Foo.gguf"),
        ("", ["Foo-MTP-Q8_0.gguf"], "Foo-MTP-Q8_0.gguf"),
        (
            "Q8_0",
            [
                "Foo-dflash-Q8_0.gguf",
                "Foo-EAGLE3.Q8_0.gguf",
                "MTP/Foo-Q8_0.gguf",
                "draft/Foo-Q8_0.gguf",
                "sub/Foo-Q8_0.gguf",
            ],
            "sub/Foo-Q8_0.gguf",
        ),
        ("Q8_0", ["Foo-lora-Q8_0.gguf", "Foo-adapter-Q8_0.gguf", "Foo-Q8_0.gguf"], "Foo-Q8_0.gguf"),
        ("F16", ["mmproj/Foo-F16.gguf", "Foo-mmproj_f16.gguf", "old/Foo-F16.gguf"], "old/Foo-F16.gguf"),
        ("Q8_0", ["imatrix_Foo.gguf", "Foo-imatrix-v5.gguf", "Foo-imatrix-Q8_0.gguf"], "Foo-imatrix-Q8_0.gguf"),
        ("", ["Foo.Q6_K.gguf", "Foo.imatrix.gguf", "Foo-imatrix-new.gguf"], "Foo.Q6_K.gguf"),
        ("Q8_0", ["._Foo-Q8_0.gguf", ".cache/Foo-Q8_0.gguf", "Foo-Q8_0.gguf"], "Foo-Q8_0.gguf"),
        (
            "Q8_0",
            ["Foo-Q8_0.part1of2.gguf", "Foo-Q8_0-00000-of-00001.gguf", "Foo-Q8_0-1-of-2.gguf", "sub/Foo-Q8_0.gguf"],
            "sub/Foo-Q8_0.gguf",
        ),
        ("Q8_0", ["Foo-Q8_0-00001-of-00001.gguf", "Foo-Q8_0.gguf"], "Foo-Q8_0.gguf"),
        ("Q4_K_M", ["Foo.i1-Q4_K_M.gguf", "Foo.i1-Q4_K_S.gguf", "Foo.i1-IQ4_NL.gguf"], "Foo.i1-Q4_K_M.gguf"),
        ("Q4_K_M", ["Q4_K_M-tuned-Q8_0.gguf", "Foo-Q8_0-tuned-Q4_K_M.gguf"], "Foo-Q8_0-tuned-Q4_K_M.gguf"),
        ("mxfp4", ["Foo-mxfp4.gguf", "Foo-MXFP4_MOE.gguf", "Foo-NVFP4.gguf"], "Foo-mxfp4.gguf"),
        ("sub/Foo-Q8_0.gguf", ["sub/Foo-Q8_0.gguf", "Foo-Q8_0.gguf"], "sub/Foo-Q8_0.gguf"),
        ("Foo-MTP-Q8_0.gguf", ["Foo-MTP-Q8_0.gguf", "Foo-Q8_0.gguf"], "Foo-MTP-Q8_0.gguf"),
    ],
)
def test_one_file_is_meant(wanted: str, paths: list[str], path: str) -> None:
    assert taken(wanted, *paths) == [path]


def test_shards_in_order() -> None:
    shards = [f"BF16/Foo-BF16-0000{number}-of-00003.gguf" for number in (3, 1, 2)]
    assert taken("bf16", *shards, "Foo-F16.gguf") == sorted(shards)


def test_whole_before_split() -> None:
    assert taken("Q8_0", "Foo-Q8_0-00001-of-00002.gguf", "Foo-Q8_0-00002-of-00002.gguf", "Foo-Q8_0.gguf") == [
        "Foo-Q8_0.gguf"
    ]


def test_root_before_subfolder_even_if_split() -> None:
    assert taken("Q8_0", "a-Q8_0-00001-of-00001.gguf", "sub/a-Q8_0.gguf") == ["a-Q8_0-00001-of-00001.gguf"]


def test_complete_before_incomplete() -> None:
    assert taken("Q8_0", "a-Q8_0-00001-of-00002.gguf", "sub/a-Q8_0.gguf") == ["sub/a-Q8_0.gguf"]


def test_incomplete_shards() -> None:
    said = refused("Q8_0", "a-Q8_0-00001-of-00003.gguf", "a-Q8_0-00003-of-00003.gguf")
    assert "2 of 3 shards of Q8_0" in said
    assert "a-Q8_0-00002-of-00003.gguf" in said


def test_incomplete_shards_beside_others() -> None:
    said = refused("Q8_0", "a-Q8_0-00001-of-00002.gguf", "a-Q4_K_M.gguf", "a-F16-00001-of-00002.gguf")
    assert said.endswith(
        "expected all of them, or one of: Q4_K_M (a-Q4_K_M.gguf, 0.0 MB), found 1 of 2 shards of Q8_0 "
        "in 'o/r', without a-Q8_0-00002-of-00002.gguf."
    )


def test_incomplete_ones_are_listed_as_such() -> None:
    assert "Q8_0 (a-Q8_0-00001-of-00002.gguf, 0.0 MB, incomplete)" in refused("F16", "a-Q8_0-00001-of-00002.gguf")


def test_shards_in_capitals() -> None:
    shards = [f"FOO-Q8_0-0000{number}-OF-00002.GGUF" for number in (1, 2)]
    assert taken("q8_0", *reversed(shards)) == shards


def test_shards_in_a_folder_per_quant() -> None:
    names = [
        f"{quant}/Foo-{quant}-0000{number}-of-00002.gguf"
        for quant in ("Q2_K", "Q2_K_L", "UD-Q2_K_XL", "BF16")
        for number in (1, 2)
    ]
    assert taken("q2_k", *names) == names[:2]
    assert taken("ud-q2_k_xl", *names) == names[4:6]
    assert "'F16', which is not in" in refused("F16", *names)


def test_the_same_quant_made_in_two_ways_is_the_plain_one() -> None:
    assert taken("Q4_K_M", "Foo.Q4_K_M.gguf", "Foo.i1-Q4_K_M.gguf") == ["Foo.Q4_K_M.gguf"]
    assert taken("i1-Q4_K_M", "Foo.Q4_K_M.gguf", "Foo.i1-Q4_K_M.gguf") == ["Foo.i1-Q4_K_M.gguf"]


def test_every_candidate_is_listed() -> None:
    names = [f"Foo-{number}-Q8_0.gguf" for number in range(60)]
    assert [name for name in names if f"({name}, 0.0 MB)" not in refused("F16", *names)] == []


def test_two_split_models_of_one_quant() -> None:
    assert "could be meant" in refused("Q8_0", "a-Q8_0-00001-of-00001.gguf", "b-Q8_0-00001-of-00001.gguf")


LABELS = """
F16 BF16 F32 MXFP4 MXFP4_MOE NVFP4 TQ1_0 TQ2_0 Q4_0 Q4_0_4_4 Q4_0_8_8 Q4_1 Q5_0 Q5_1 Q8_0
Q2_K Q2_K_L Q3_K_S Q3_K_M Q3_K_L Q3_K_XL
Q4_K Q4_K_S Q4_K_M Q4_K_L Q4_K_XL Q5_K_S Q5_K_M Q6_K Q6_K_L Q8_K_XL
IQ1_S IQ1_M IQ2_XXS IQ2_XS IQ2_M IQ3_XXS IQ3_M IQ4_XS IQ4_NL
UD-Q4_K_XL UD-Q8_K_XL UD-IQ1_S UD-IQ2_XXS UD-Q2_K_XL
"""
STYLES = [
    "Foo-7B-{}.gguf",
    "foo.{}.gguf",
    "foo_{}.gguf",
    "{}/Foo-{}-00001-of-00001.gguf",
    "{}/model.gguf",
    "Foo-Q8_0-it-{}.gguf",
    "Foo.i1-{}.gguf",
]


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("wanted", LABELS.split())
def test_every_label_is_told_from_every_other(wanted: str, style: str) -> None:
    if style.startswith("foo_") and wanted.startswith("UD-"):
        style = "foo-{}.gguf"
    paths = {
        name: style.format(name, name)
        for name in LABELS.split()
        if not (style.startswith("foo_") and name.startswith("UD-"))
    }
    noise = ["mmproj-F16.gguf", "imatrix.gguf", "README.md", f"Foo-draft-{wanted}.gguf"]
    assert taken(wanted.lower(), *paths.values(), *noise) == [paths[wanted]]


def test_no_such_quant_lists_what_there_is_with_sizes() -> None:
    said = refused("Q5_K_M", "Foo-Q4_K_M.gguf", "Foo-Q8_0.gguf", "mmproj-F16.gguf")
    assert said == (
        "gguf_model_quant: expected one of: Q4_K_M (Foo-Q4_K_M.gguf, 0.0 MB), Q8_0 (Foo-Q8_0.gguf, 0.0 "
        "MB), found 'Q5_K_M', which is not in 'o/r'."
    )


@pytest.mark.parametrize("wanted", ["Q4_NL", "Q4_K", "MXFP4", "4", "Q4", "*", "Foo", "F1", ".*"])
def test_parts_of_a_label_match_nothing(wanted: str) -> None:
    assert f"'{wanted}', which is not in" in refused(
        wanted, "Foo-IQ4_NL.gguf", "Foo-Q4_K_M.gguf", "Foo-F16.gguf", "Foo-MXFP4_MOE.gguf"
    )


def test_two_models_of_one_quant() -> None:
    said = refused("Q8_0", "a-Q8_0.gguf", "b-Q8_0.gguf")
    assert "2 models of 'o/r' that could be meant" in said
    assert "Give its label there, such as 'a-Q8_0'" in said


def test_no_default() -> None:
    assert "no quant given" in refused("", "a-Q6_K.gguf", "a-F16.gguf")


@pytest.mark.parametrize(
    "paths",
    [[], ["README.md"], ["mmproj-F16.gguf", "imatrix.gguf"], ["a.gguf.part1of2"], [".gguf"], ["a-00000-of-00002.gguf"]],
)
def test_no_model_at_all(paths: list[str]) -> None:
    assert "no GGUF model in 'o/r'" in refused("", *paths)


def test_sizes() -> None:
    assert (size_text(98362432), size_text(1_500_000_000)) == ("98.4 MB", "1.5 GB")
    candidate = Candidate(
        "Q8_0", (ListedFile("a-00001-of-00002.gguf", 10**9), ListedFile("a-00002-of-00002.gguf", 10**9))
    )
    assert str(candidate) == "Q8_0 (a-00001-of-00002.gguf and 1 more, 2.0 GB)"
