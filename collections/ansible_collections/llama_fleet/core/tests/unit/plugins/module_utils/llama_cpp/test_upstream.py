# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test which published binaries a host gets, and what keeps it from running them."""

from __future__ import annotations

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp import upstream as llama_cpp_upstream
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.source import Upstream
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.upstream import URL, assets, upstream_problems

SUM, RUNTIME_SUM = "ab" * 32, "cd" * 32
PINNED = Upstream("b11434", SUM, RUNTIME_SUM)
NEW = "glibc 2.39"


@pytest.mark.parametrize(
    ("backend", "machine", "driver", "names"),
    [
        ("cpu", "x86_64", "", ["llama-b11434-bin-ubuntu-x64.tar.gz"]),
        ("cpu", "aarch64", "616.10", ["llama-b11434-bin-ubuntu-arm64.tar.gz"]),
        (
            "cuda",
            "x86_64",
            "616.10",
            ["llama-b11434-bin-ubuntu-cuda-13.4-x64.tar.gz", "cudart-llama-b11434-bin-ubuntu-cuda-13.4-x64.tar.gz"],
        ),
        (
            "cuda",
            "x86_64",
            "610.43.02",
            ["llama-b11434-bin-ubuntu-cuda-12.8-x64.tar.gz", "cudart-llama-b11434-bin-ubuntu-cuda-12.8-x64.tar.gz"],
        ),
        (
            "cuda",
            "x86_64",
            "535.1",
            ["llama-b11434-bin-ubuntu-cuda-12.8-x64.tar.gz", "cudart-llama-b11434-bin-ubuntu-cuda-12.8-x64.tar.gz"],
        ),
        (
            "cuda",
            "x86_64",
            "",
            ["llama-b11434-bin-ubuntu-cuda-12.8-x64.tar.gz", "cudart-llama-b11434-bin-ubuntu-cuda-12.8-x64.tar.gz"],
        ),
        (
            "cuda",
            "aarch64",
            "580.95.05",
            ["llama-b11434-bin-ubuntu-cuda-13.4-arm64.tar.gz", "cudart-llama-b11434-bin-ubuntu-cuda-13.4-arm64.tar.gz"],
        ),
    ],
)
def test_what_is_fetched(backend: str, machine: str, driver: str, names: list[str]) -> None:
    assert upstream_problems(PINNED, backend, machine, driver, NEW) == []
    found = assets(PINNED, backend, machine, driver)
    assert [asset.url for asset in found] == [f"{URL}/b11434/{name}" for name in names]
    assert [asset.sha256 for asset in found] == [SUM, RUNTIME_SUM][: len(names)]


@pytest.mark.parametrize(
    ("upstream", "backend", "machine", "driver", "c_library", "messages"),
    [
        (PINNED, "cpu", "ppc64le", "", NEW, ["expected x86_64 or aarch64, found upstream binaries for ppc64le."]),
        (
            PINNED,
            "cpu",
            "x86_64",
            "",
            "glibc 2.34",
            ["C library: expected glibc 2.35 or newer for the published binaries of b11434, found glibc 2.34."],
        ),
        (
            PINNED,
            "cpu",
            "x86_64",
            "",
            "glibc 2.9",
            ["expected glibc 2.35 or newer for the published binaries of b11434, found glibc 2.9."],
        ),
        (
            PINNED,
            "cpu",
            "aarch64",
            "",
            "glibc 2.36",
            ["expected glibc 2.39 or newer for the published binaries of b11434, found glibc 2.36."],
        ),
        (
            PINNED,
            "cuda",
            "x86_64",
            "580.65",
            "glibc 2.36",
            ["expected glibc 2.39 or newer for the published binaries of b11434, found glibc 2.36."],
        ),
        (
            PINNED,
            "cpu",
            "x86_64",
            "",
            "another than glibc",
            ["expected glibc 2.35 or newer for the published binaries of b11434, found another than glibc"],
        ),
        (
            PINNED,
            "cuda",
            "x86_64",
            "470.1",
            NEW,
            ["NVIDIA driver: expected 525 or newer for CUDA 12.8, found version 470.1."],
        ),
        (PINNED, "cuda", "x86_64", "524.99", NEW, ["expected 525 or newer for CUDA 12.8, found version 524.99."]),
        (PINNED, "cuda", "x86_64", "525", NEW, []),
        (PINNED, "cuda", "aarch64", "580", NEW, []),
        (PINNED, "cuda", "aarch64", "575.1", NEW, ["expected 580 or newer for CUDA 13.4, found version 575.1."]),
        (
            Upstream("b1", SUM),
            "cuda",
            "x86_64",
            "470.1",
            "glibc 2.31",
            ["C library", "'&runtime_sha256=' and its digits", "NVIDIA driver"],
        ),
    ],
)
def test_what_is_known_before_anything_is_fetched(
    upstream: Upstream, backend: str, machine: str, driver: str, c_library: str, messages: list[str]
) -> None:
    found = [str(problem) for problem in upstream_problems(upstream, backend, machine, driver, c_library)]
    assert len(found) == len(messages)
    assert all(message in text for message, text in zip(messages, found))


def test_the_c_library_is_that_of_this_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llama_cpp_upstream, "libc", lambda: "glibc 2.17")
    assert "expected glibc 2.35 or newer for the published binaries of b11434, found glibc 2.17" in str(
        upstream_problems(PINNED, "cpu", "x86_64", "")[0]
    )
