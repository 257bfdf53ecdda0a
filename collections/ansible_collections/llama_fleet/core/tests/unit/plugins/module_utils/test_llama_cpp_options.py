# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp_options import (
    Target,
    architecture_problems,
    cmake_options,
    cpu_features,
    fingerprint,
    option_problems,
)

CPU = Target("cpu", "native", "x86_64")
CUDA = Target("cuda", "native", "x86_64", ("86-real", "90-real"))


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (CPU, {"GGML_NATIVE": "ON", "GGML_AVX2": None, "GGML_CUDA": None, "CMAKE_BUILD_TYPE": "Release", "CMAKE_INSTALL_RPATH": "$ORIGIN"}),
        (Target("cpu", "portable", "x86_64"), {"GGML_NATIVE": "OFF", "GGML_AVX2": "ON", "GGML_BMI2": "ON", "GGML_AVX512": None}),
        (Target("cpu", "portable", "aarch64"), {"GGML_NATIVE": "OFF", "GGML_AVX2": None}),
        (
            CUDA,
            {
                "GGML_CUDA": "ON",
                "GGML_CUDA_NO_VMM": "ON",
                "CMAKE_CUDA_ARCHITECTURES": "86-real;90-real",
                "CMAKE_EXE_LINKER_FLAGS": "-Wl,--allow-shlib-undefined",
            },
        ),
    ],
)
def test_options_of_targets(target: Target, expected: dict[str, str | None]) -> None:
    options = cmake_options(target, "b11434", "", True, {})
    assert {name: options.get(name) for name in expected} == expected


@pytest.mark.parametrize(
    ("build", "commit", "number", "shown"),
    [("b11434", "", "11434", "archive"), ("b7", "0123456789abcdef", "7", "012345678"), ("mine", "", "0", "archive")],
)
def test_the_build_tells_its_version(build: str, commit: str, number: str, shown: str) -> None:
    options = cmake_options(CPU, build, commit, True, {})
    assert (options["LLAMA_BUILD_NUMBER"], options["LLAMA_BUILD_COMMIT"]) == (number, shown)


@pytest.mark.parametrize(
    ("given", "name", "value"),
    [
        ({"GGML_CUDA_FA": False}, "GGML_CUDA_FA", "OFF"),
        ({"GGML_NATIVE": "OFF"}, "GGML_NATIVE", "OFF"),
        ({"CMAKE_CXX_FLAGS": "-O2 -g"}, "CMAKE_CXX_FLAGS", "-O2 -g"),
        ({"N": 3}, "N", "3"),
    ],
)
def test_the_users_options_win(given: dict[str, typing.Any], name: str, value: str) -> None:
    assert cmake_options(CUDA, "b1", "", True, given)[name] == value


@pytest.mark.parametrize(("openssl", "value"), [(True, "ON"), (False, "OFF")])
def test_openssl_by_its_headers(openssl: bool, value: str) -> None:
    assert cmake_options(CPU, "b1", "", openssl, {})["LLAMA_OPENSSL"] == value


@pytest.mark.parametrize(
    ("options", "count"),
    [
        ({}, 0),
        ({"GGML_CUDA_FA": "ON", "CMAKE_PROJECT_llama.cpp_INCLUDE": "/x", "B": True, "N": 1}, 0),
        ({"-DGGML_CUDA": "ON"}, 1),
        ({"GGML CUDA": "ON", "": "x", "A;B": "x"}, 3),
        ({"A": ["x"], "B": {"c": 1}, "C": None, "D": "a\nb"}, 4),
    ],
)
def test_options_that_cmake_could_not_take(options: dict[str, typing.Any], count: int) -> None:
    assert len(option_problems(options, "llama_cpp_cmake_options")) == count


@pytest.mark.parametrize(
    ("names", "wrong"),
    [
        (["90-real", "75-virtual", "120a-real", "89", "100f"], []),
        (["sm_90", "native", "9.0", "90-real;75-real"], ["sm_90", "native", "9.0", "90-real;75-real"]),
    ],
)
def test_architectures(names: list[str], wrong: list[str]) -> None:
    assert [problem.found for problem in architecture_problems(names, "x")] == [f"'{name}'" for name in wrong]


def test_a_fingerprint_is_of_the_parts_and_not_of_their_order() -> None:
    assert fingerprint({"a": 1, "b": {"c": "x", "d": "y"}}) == fingerprint({"b": {"d": "y", "c": "x"}, "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": 2})
    assert len(fingerprint({})) == 64


X86 = "processor\t: 0\nmodel name\t: Xeon\nflags\t\t: fpu avx2\ncpu MHz\t\t: {mhz}\n\nprocessor\t: 1\nmodel name\t: Other\nflags\t\t: none\n"
ARM = "processor\t: 0\nFeatures\t: fp asimd\nCPU implementer\t: 0x41\nCPU part\t: {part}\n\n"


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        (X86.format(mhz=1), X86.format(mhz=2), True),
        (X86.format(mhz=1), X86.format(mhz=1).replace("fpu avx2", "avx2 fpu"), True),
        (X86.format(mhz=1), X86.format(mhz=1).replace("fpu avx2", "fpu avx2 amx_tile"), False),
        (X86.format(mhz=1), X86.format(mhz=1).replace("Xeon", "EPYC"), False),
        (ARM.format(part="0xd0c"), ARM.format(part="0xd40"), False),
    ],
)
def test_cpu_features(first: str, second: str, same: bool) -> None:
    assert (cpu_features(first) == cpu_features(second)) is same
