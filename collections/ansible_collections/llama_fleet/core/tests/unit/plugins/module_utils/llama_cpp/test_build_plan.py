# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test the reasons for an origin that a release's record keeps."""

from __future__ import annotations

import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.build_plan import (
    BuildPlan,
    why_built,
    why_packed,
    why_published,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.request import ARGUMENTS, parse_request
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.source import Revision

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.request import Request

GIT = "git+https://github.com/ggml-org/llama.cpp"
AUTO = "llama_cpp_method is auto"


def request(source: str = GIT, **parameters: typing.Any) -> Request:
    defaults = {name: option.get("default") for name, option in ARGUMENTS.items()}
    return parse_request({**defaults, "source": source, **parameters})


@pytest.mark.parametrize(
    ("parameters", "refused", "why"),
    [
        ({"method": "source"}, "", "llama_cpp_method is source"),
        (
            {"unanswered": "no answer from https://api.github.com (refused)"},
            "",
            (
                f"{AUTO}, no packed release fits this host, and GitHub gave no answer (no answer from "
                "https://api.github.com (refused))"
            ),
        ),
        ({}, "", f"{AUTO}, no packed release fits this host, and GitHub was not asked"),
        (
            {"cmake_options": {"GGML_RPC": True}},
            "",
            f"{AUTO}, no packed release fits this host, and llama_cpp_cmake_options are set",
        ),
        ({"cpu": "avx2"}, "", f"{AUTO}, no packed release fits this host, and llama_cpp_cpu is avx2"),
        (
            {"trusted_signers": ["ssh-ed25519 AAAA"]},
            "",
            (
                f"{AUTO}, no packed release fits this host, and llama_cpp_trusted_signers requires signatures, which "
                "published binaries do not have"
            ),
        ),
        (
            {"source": "git+https://example.com/fork"},
            "",
            f"{AUTO}, no packed release fits this host, and the project publishes no binaries of this source",
        ),
        (
            {},
            "the project's binaries do not fit this host (glibc 2.31\n)",
            f"{AUTO}, and the project's binaries do not fit this host (glibc 2.31\\n)",
        ),
    ],
)
def test_a_build_has_its_reason(parameters: dict[str, typing.Any], refused: str, why: str) -> None:
    assert why_built(request(**parameters), BuildPlan(Revision("", "b1"), refused=refused)) == why


@pytest.mark.parametrize(
    ("parameters", "why"),
    [
        ({"source": "upstream:latest"}, "llama_cpp_source names them"),
        ({"method": "upstream"}, "llama_cpp_method is upstream"),
        ({}, f"{AUTO}, no packed release fits this host, and the project publishes the same build"),
    ],
)
def test_published_binaries_have_their_reason(parameters: dict[str, str], why: str) -> None:
    assert why_published(request(**parameters)) == why


@pytest.mark.parametrize(
    ("parameters", "why"),
    [
        ({"source": "release+/x/b1-0c1e57098a3f.tar.gz"}, "llama_cpp_source names it"),
        ({"method": "packed"}, "llama_cpp_method is packed"),
        ({}, f"{AUTO} and it fits this host"),
    ],
)
def test_a_packed_release_has_its_reason(parameters: dict[str, str], why: str) -> None:
    assert why_packed(request(**parameters)) == why
