# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.companion import choose_projector, is_projector
from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.files import Candidate, ListedFile
from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.quant import quant_of
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError


def chosen(model: str, *names: str) -> str:
    candidate = Candidate(quant_of(model), (ListedFile(model, 5),))
    return choose_projector([ListedFile(name, 7_000_000) for name in (model, *names)], candidate, "the listing").path


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["mmproj-BF16.gguf", "mmproj-F16.gguf", "mmproj-F32.gguf"], "mmproj-F16.gguf"),
        (["mmproj-BF16.gguf", "mmproj-F32.gguf"], "mmproj-BF16.gguf"),
        (["mmproj-a-f16.gguf", "mmproj-a-Q8_0.gguf"], "mmproj-a-Q8_0.gguf"),
        (["a.mmproj-Q4_0.gguf"], "a.mmproj-Q4_0.gguf"),
        (["mmproj.gguf", "imatrix.gguf"], "mmproj.gguf"),
        (["mmproj-a-F16.gguf", "mmproj-b-F16.gguf"], "mmproj-a-F16.gguf"),
        (["other/mmproj-Q8_0.gguf", "mmproj-F32.gguf"], "mmproj-F32.gguf"),
    ],
)
def test_the_one_that_is_meant(names: list[str], expected: str) -> None:
    assert chosen("a-Q8_0.gguf", *names) == expected


def test_its_own_folder_goes_first() -> None:
    assert chosen("big/a-Q8_0.gguf", "mmproj-Q8_0.gguf", "big/mmproj-F32.gguf") == "big/mmproj-F32.gguf"
    assert chosen("big/a-Q8_0.gguf", "mmproj-Q8_0.gguf", "small/mmproj-F32.gguf") == "mmproj-Q8_0.gguf"


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ([], "gguf_model_mmproj: expected a repository with an mmproj file, found no projector in the listing."),
        (
            ["x/mmproj-F16.gguf"],
            (
                "expected a repository with an mmproj file, found no projector in the listing beside "
                "'a-Q8_0.gguf' (there is F16 (x/mmproj-F16.gguf, 7.0 MB))"
            ),
        ),
        (
            ["mmproj-b-F16.gguf", "mmproj-c-F16.gguf"],
            "could be meant: b-F16 (mmproj-b-F16.gguf, 7.0 MB), c-F16 (mmproj-c-F16.gguf, 7.0 MB)",
        ),
    ],
)
def test_none_or_several(names: list[str], said: str) -> None:
    with pytest.raises(ProblemError) as caught:
        chosen("a-Q8_0.gguf", *names)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("mmproj-a.gguf", True), ("A.MMPROJ-Q8_0.GGUF", True), ("a-mmproject.gguf", False), ("mmproj-a.bin", False)],
)
def test_what_a_projector_is(name: str, expected: bool) -> None:
    assert is_projector(name) is expected
