# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test the CMake options that a build ignores: each is an error before anything is compiled."""

from __future__ import annotations

import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import Result
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.compile import unknown_options
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.compiler_cache import CompilerCache
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.progress import Progress
from ansible_collections.llama_fleet.core.tests.unit.fakes.llama_cpp import compilation
from ansible_collections.llama_fleet.core.tests.unit.fakes.runner import FakeRunner

if typing.TYPE_CHECKING:
    import pathlib

CONFIGURED = """-- The C compiler identification is GNU 12.2.0
CMake Warning at CMakeLists.txt:140 (message):
  LLAMA_CURL is deprecated and will be ignored
Call Stack (most recent call first):

CMake Warning (unused-cli):
  Manually-specified variables were not used by the project:

    CMAKE_CUDA_FLAGS
    CMAKE_CXX_FLAGZ
    CMAKE_CXX_FLAGS_REALEASE
    CUDAToolkit_ROOT
    GGML_CUDA_DEPTH
    ggml_lto
    OF_NO_KIND
    OPENSSL_ROOT_DIR
    LLAMA_OF_DIR
    CMAKE_UNITY_BUILD_RELOCATABLE


-- Build files have been written to: /w/build
"""
CACHED = """//x
GGML_CUDA_FA:BOOL=ON
GGML_LTO:BOOL=OFF
GGML_CUDA_FQ:UNINITIALIZED=1
GGML_CUDA_FD-ADVANCED:INTERNAL=1
GGML_CUDA_FB:INTERNAL=1
BLA_VENDOR:UNINITIALIZED=x
"""

SCRIPTS = "if(GGML_CUDA)\n  set(x ${GGML_CUDA_DEPTH})\nendif()\n"
CMAKES = (
    "BUILD_SHARED_LIBS\nCMAKE_<LANG>_FLAGS\nCMAKE_<LANG>_FLAGS_<CONFIG>\n<PackageName>_ROOT\n<PROJECT-NAME>_VERSION\n"
)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("GGML_CUDA_FA", ""),
        ("CMAKE_CUDA_FLAGS", ""),
        ("CUDAToolkit_ROOT", ""),
        ("OPENSSL_ROOT_DIR", ""),
        ("BLA_VENDOR", ""),
        ("LLAMA_OF_DIR", "expected an option of it, found LLAMA_OF_DIR, which this source does not know"),
        ("GGML_CUDA_DEPTH", ""),
        (
            "GGML_CUDA_FQ",
            (
                "expected an option of it; the nearest are GGML_CUDA_FA, found GGML_CUDA_FQ, which this source "
                "does not know. Fix: Correct it"
            ),
        ),
        (
            "ggml_lto",
            (
                "expected an option of it; the nearest are GGML_LTO, found ggml_lto, which this source does "
                "not know. Fix: Correct it"
            ),
        ),
        (
            "OF_NO_KIND",
            (
                "expected an option of it, found OF_NO_KIND, which this source does not know. Fix: Correct it, "
                "or leave it out."
            ),
        ),
        (
            "CMAKE_CXX_FLAGZ",
            ("expected an option of it, found CMAKE_CXX_FLAGZ, which this source does not know"),
        ),
        (
            "CMAKE_CXX_FLAGS_REALEASE",
            "expected an option of it, found CMAKE_CXX_FLAGS_REALEASE, which this source does not know",
        ),
        (
            "LLAMA_CURL",
            "expected options that it supports, found LLAMA_CURL, which this source ignores. Fix: Leave it out.",
        ),
    ],
)
def test_options_that_come_to_nothing(name: str, told: str) -> None:
    found = [str(problem) for problem in unknown_options(CONFIGURED, [name], CACHED, SCRIPTS, CMAKES)]
    assert len(found) == bool(told)
    assert all(text.startswith(f"llama_cpp_cmake_options: {told}") for text in found)


def test_our_own_options_are_never_an_error() -> None:
    assert unknown_options(CONFIGURED, [], CACHED, SCRIPTS, CMAKES) == []
    assert unknown_options("-- Configuring done\n", ["GGML_CUDA_FA"], CACHED, SCRIPTS, CMAKES) == []


def test_an_unknown_option_stops_before_anything_is_compiled(tmp_path: pathlib.Path) -> None:
    for name, text in {
        "source/ggml/CMakeLists.txt": SCRIPTS,
        "source/cmake/x.cmake": "OF_NO_KIND",
        "build/CMakeCache.txt": CACHED,
    }.items():
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    run = FakeRunner(Result(0, CONFIGURED, ""), Result(0, CMAKES, ""))
    user = ["OF_NO_KIND", "GGML_CUDA_DEPTH", "GGML_CUDA_FQ", "CMAKE_CUDA_FLAGS"]
    with pytest.raises(ProblemError) as caught:
        compilation(work=tmp_path, log=tmp_path / "log", user_options=user).run(CompilerCache(), Progress(), run)
    assert [problem.found for problem in caught.value.problems] == ["GGML_CUDA_FQ, which this source does not know"]
    assert [command[0] for command in run.commands] == ["/v/bin/cmake", "/v/bin/cmake"]
