# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.options import (
    Origins,
    Target,
    architecture_problems,
    cmake_options,
    cpu_features,
    cpu_problems,
    fingerprint,
    libc,
    option_problems,
    reasons,
)

CPU = Target("cpu", "native", "x86_64")
CUDA = Target("cuda", "native", "x86_64", ("86-real", "90-real"))


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (
            CPU,
            {
                "GGML_NATIVE": "ON",
                "GGML_AVX2": None,
                "GGML_CUDA": None,
                "CMAKE_BUILD_TYPE": "Release",
                "CMAKE_INSTALL_RPATH": "$ORIGIN",
            },
        ),
        (
            Target("cpu", "portable", "x86_64"),
            {"GGML_NATIVE": "OFF", "GGML_BACKEND_DL": "ON", "GGML_CPU_ALL_VARIANTS": "ON", "GGML_AVX2": None},
        ),
        (
            Target("cuda", "portable", "aarch64"),
            {"GGML_NATIVE": "OFF", "GGML_BACKEND_DL": "ON", "GGML_CPU_ALL_VARIANTS": "ON", "GGML_CUDA": "ON"},
        ),
        (
            Target("cpu", "avx2, FMA,sse4_2,avx512f", "x86_64"),
            {
                "GGML_NATIVE": "OFF",
                "GGML_AVX2": "ON",
                "GGML_FMA": "ON",
                "GGML_SSE42": "ON",
                "GGML_AVX512": "ON",
                "GGML_F16C": "OFF",
                "GGML_BACKEND_DL": None,
            },
        ),
        (
            Target("cpu", "armv8.2-a+dotprod", "aarch64"),
            {"GGML_NATIVE": "OFF", "GGML_CPU_ARM_ARCH": "armv8.2-a+dotprod", "GGML_AVX2": None},
        ),
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


X86 = (
    "processor\t: 0\nmodel name\t: Xeon\nflags\t\t: fpu avx2\ncpu MHz\t\t: {mhz}\n\nprocessor\t: 1\nmodel name\t: "
    "Other\nflags\t\t: none\n"
)
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


@pytest.mark.parametrize(
    ("cpu", "machine", "message"),
    [
        ("native", "riscv64", ""),
        ("portable", "x86_64", ""),
        ("avx2,fma,f16c,bmi2", "x86_64", ""),
        ("armv8.2-a+dotprod+fp16", "aarch64", ""),
        ("armv9-a", "arm64", ""),
        (
            "Native",
            "x86_64",
            (
                "expected native, portable, or CPU features such as sse42, avx, avx_vnni, avx2, bmi2, f16c, "
                "fma, avx512, avx512_vbmi, avx512_vnni, avx512_bf16, amx_tile, amx_int8 or amx_bf16, found "
                "'Native'."
            ),
        ),
        (
            "avx2,avx3",
            "x86_64",
            "expected native, portable, or CPU features such as avx, avx2 or avx512, found 'avx3'.",
        ),
        ("avx2,", "x86_64", "expected native, portable, or CPU features such as sse42"),
        ("", "x86_64", "expected native, portable, or CPU features such as sse42"),
        ("armv8-a", "x86_64", "expected native, portable, or CPU features such as sse42"),
        (
            "avx2",
            "aarch64",
            "expected native, portable, or an ARM architecture such as armv8.2-a+dotprod, found 'avx2'.",
        ),
        (
            "armv8-a -O0",
            "aarch64",
            "expected native, portable, or an ARM architecture such as armv8.2-a+dotprod, found 'armv8-a -O0'.",
        ),
        ("rv64gcv", "riscv64", "expected native or portable on riscv64, found 'rv64gcv'."),
    ],
)
def test_cpus_to_build_for(cpu: str, machine: str, message: str) -> None:
    found = [str(problem) for problem in cpu_problems(cpu, machine, "llama_cpp_cpu")]
    assert len(found) == bool(message)
    assert all(text.startswith(f"llama_cpp_cpu: {message}") for text in found)


@pytest.mark.parametrize(
    ("cpu", "lacking"), [("avx2", ""), ("avx2,avx512,fma", "avx512, fma"), ("portable", ""), ("native", "")]
)
def test_a_release_for_a_cpu_that_is_not_here_could_not_prove_itself(cpu: str, lacking: str) -> None:
    found = [problem.found for problem in cpu_problems(cpu, "x86_64", "x", X86.format(mhz=1))]
    assert found == ([f"{lacking}, which this CPU lacks"] if lacking else [])


@pytest.mark.parametrize(
    ("known", "shown"),
    [("glibc 2.36", "glibc 2.36"), (None, "another than glibc"), (ValueError(), "another than glibc")],
)
def test_the_c_library(monkeypatch: pytest.MonkeyPatch, known: str | Exception | None, shown: str) -> None:
    def confstr(name: str) -> str | None:
        assert name == "CS_GNU_LIBC_VERSION"
        if isinstance(known, Exception):
            raise known
        return known

    monkeypatch.setattr("os.confstr", confstr)
    assert libc() == shown


ORIGINS = Origins("/srv/x.tar.gz", "", "native", X86.format(mhz=1), "/usr/bin/c++", "", ("GGML_LTO",))
PARTS = {
    "source": "ab" * 32,
    "build": "b7",
    "backend": "cpu",
    "machine": "x86_64",
    "libc": "glibc 2.36",
    "cmake_options": {},
    "cuda_architectures": [],
    "cuda_toolkit": "",
    "cpu_features": "cd" * 32,
    "compiler": "gcc version 12",
}


def test_every_part_of_a_fingerprint_has_its_reason() -> None:
    explained = reasons(PARTS, ORIGINS)
    assert list(explained) == list(PARTS)
    assert all(explained.values())
    assert explained["source"] == "the sha256 in llama_cpp_source (/srv/x.tar.gz)"
    assert explained["build"] == "the name in llama_cpp_source (/srv/x.tar.gz)"
    assert (
        explained["cmake_options"]
        == "the options for llama_cpp_backend and llama_cpp_cpu, and GGML_LTO of llama_cpp_cmake_options"
    )
    assert explained["cpu_features"] == "llama_cpp_cpu is native: the features of this CPU (Xeon)"
    assert explained["cuda_toolkit"] == "none, as llama_cpp_backend is not cuda"


def test_reasons_of_another_kind() -> None:
    origins = Origins("https://example.com/llama.cpp", "latest", "portable", "", "/usr/bin/c++", "/usr/local/cuda")
    explained = reasons(
        {"source": "0" * 40, "build": "b7", "cuda_toolkit": "13.0.88", "cpu_features": "", "runtime": "x"}, origins
    )
    assert explained["source"] == "the commit of llama_cpp_version 'latest' in https://example.com/llama.cpp"
    assert explained["build"] == "llama_cpp_version is 'latest'"
    assert explained["cuda_toolkit"] == "the version of /usr/local/cuda/bin/nvcc"
    assert explained["cpu_features"] == "none, as llama_cpp_cpu is portable: the same on every CPU"
    assert explained["runtime"] == "the runtime_sha256 in llama_cpp_source"


@pytest.mark.parametrize(
    ("name", "today"),
    [
        ("LLAMA_NATIVE", "GGML_NATIVE"),
        ("LLAMA_AVX2", "GGML_AVX2"),
        ("LLAMA_FMA", "GGML_FMA"),
        ("LLAMA_CUBLAS", "GGML_CUDA"),
        ("LLAMA_CUDA_FORCE_MMQ", "GGML_CUDA_FORCE_MMQ"),
    ],
)
def test_names_of_older_versions_are_refused_with_those_of_today(name: str, today: str) -> None:
    (problem,) = option_problems({name: True}, "llama_cpp_cmake_options")
    assert (problem.found, problem.fix) == (f"{name}, a name of older versions", f"use {today}")


@pytest.mark.parametrize("name", ["LLAMA_BUILD_UI", "LLAMA_OPENSSL", "LLAMA_BUILD_TESTS", "GGML_NATIVE"])
def test_names_of_today_are_not(name: str) -> None:
    assert option_problems({name: True}, "llama_cpp_cmake_options") == []
