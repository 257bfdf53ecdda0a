# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Define the CMake options of a build, and the fingerprint of everything that shapes its binaries."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.source import build_number
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, nearest, one_of

CUDA = "cuda"
NATIVE = "native"
PORTABLE = "portable"
X86 = ("x86_64", "amd64")
ARM = ("aarch64", "arm64")

_OPTION_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.+-]*")
_ARCHITECTURE = re.compile(r"[0-9]{2,3}[af]?(-real|-virtual)?")

_COMMON = {
    "CMAKE_BUILD_TYPE": "Release",
    "BUILD_SHARED_LIBS": "ON",
    # Programs find their libraries wherever the release is moved.
    "CMAKE_INSTALL_RPATH": "$ORIGIN",
    "CMAKE_BUILD_WITH_INSTALL_RPATH": "ON",
    "LLAMA_BUILD_TESTS": "OFF",
    "LLAMA_BUILD_EXAMPLES": "OFF",
    # The web interface would be downloaded during the build.
    "LLAMA_BUILD_UI": "OFF",
    "LLAMA_USE_PREBUILT_UI": "OFF",
    # The compiler cache is chosen by us, not by llama.cpp.
    "GGML_CCACHE": "OFF",
}
# Optional features of x86-64 CPUs: llama.cpp's name → the kernel's name in /proc/cpuinfo.
_X86_FEATURES = {
    "sse42": "sse4_2",
    "avx": "avx",
    "avx_vnni": "avx_vnni",
    "avx2": "avx2",
    "bmi2": "bmi2",
    "f16c": "f16c",
    "fma": "fma",
    "avx512": "avx512f",
    "avx512_vbmi": "avx512vbmi",
    "avx512_vnni": "avx512_vnni",
    "avx512_bf16": "avx512_bf16",
    "amx_tile": "amx_tile",
    "amx_int8": "amx_int8",
    "amx_bf16": "amx_bf16",
}
# The compiler's flags for those features that are not written like llama.cpp's names without underscores.
_X86_FLAGS = {
    "sse42": ("-msse4.2",),
    "avx512": ("-mavx512f", "-mavx512cd", "-mavx512vl", "-mavx512dq", "-mavx512bw"),
    **{name: (f"-m{name.replace('_', '-')}",) for name in ("amx_tile", "amx_int8", "amx_bf16")},
}
_ARM_ARCHITECTURE = re.compile(r"armv[89](\.[0-9])?-a(\+[a-z0-9_-]+)*")
_PORTABLE = {"GGML_BACKEND_DL": "ON", "GGML_CPU_ALL_VARIANTS": "ON"}
# The host that compiles may lack the driver, so libcuda may be missing at link time.
_LINK_WITHOUT_DRIVER = "-Wl,--allow-shlib-undefined"
_CUDA = {
    "GGML_CUDA": "ON",
    "GGML_CUDA_NO_VMM": "ON",
    "GGML_CUDA_NCCL": "OFF",
    "CMAKE_EXE_LINKER_FLAGS": _LINK_WITHOUT_DRIVER,
    "CMAKE_SHARED_LINKER_FLAGS": _LINK_WITHOUT_DRIVER,
}

# Names of older versions of llama.cpp, where the options of ggml began with LLAMA_ too.
_FORMER = re.compile(
    r"LLAMA_(ACCELERATE|BLAS|BLAS_VENDOR|CCACHE|CUDA|CUDA_[A-Z0-9_]+|HIP_UMA|KOMPUTE|LTO|METAL|NATIVE|OPENMP|RPC|"
    rf"STATIC|SYCL|SYCL_F16|VULKAN|{'|'.join(name.upper() for name in _X86_FEATURES)})"
)
_RENAMED = {"LLAMA_CUBLAS": "GGML_CUDA", "LLAMA_HIPBLAS": "GGML_HIP", "LLAMA_CURL": "LLAMA_OPENSSL"}

UserOptions = typing.Mapping[str, typing.Any]


@dataclasses.dataclass(frozen=True)
class Target:
    """The target of a build: ``cpu`` as accepted by ``cpu_problems``, ``machine`` as in uname."""

    backend: str
    cpu: str
    machine: str
    cuda_architectures: tuple[str, ...] = ()


def option_problems(options: UserOptions, variable: str) -> list[Problem]:
    """Return a problem for each name or value in the user's options that CMake cannot take."""
    problems = []
    for name, value in options.items():
        if not isinstance(name, str) or not _OPTION_NAME.fullmatch(name):
            problems.append(
                Problem(
                    variable, f"the name '{name}'", "the name of a CMake variable, without '-D', such as GGML_CUDA_FA"
                )
            )
        elif name in _RENAMED or _FORMER.fullmatch(name):
            today = _RENAMED.get(name, name.replace("LLAMA_", "GGML_", 1))
            problems.append(Problem(variable, f"{name}, a name of older versions", "names of today", f"use {today}"))
        elif not isinstance(value, (str, int, float)) or "\n" in str(value):
            problems.append(
                Problem(variable, f"{name} with the value {value!r}", "one line of text, a number or a truth value")
            )
    return problems


def architecture_problems(architectures: typing.Iterable[str], variable: str) -> list[Problem]:
    """Return a problem for each CUDA architecture that is not spelled as in CMake."""
    return [
        Problem(variable, f"'{name}'", "architectures such as '90-real' or '120a-real'")
        for name in architectures
        if not _ARCHITECTURE.fullmatch(name)
    ]


def cmake_options(target: Target, build: str, commit: str, openssl: bool, user: UserOptions) -> dict[str, str]:
    """Return the CMake options that shape the binaries, without paths of this host. The user's take precedence."""
    options = {
        **_COMMON,
        "LLAMA_BUILD_NUMBER": str(build_number(build)),
        "LLAMA_BUILD_COMMIT": commit[:9] or "archive",
        "LLAMA_OPENSSL": _switch(openssl),
        **_cpu_options(target.cpu),
    }
    if target.backend == CUDA:
        options.update(_CUDA, CMAKE_CUDA_ARCHITECTURES=";".join(target.cuda_architectures))
    options.update({name: _switch(value) if isinstance(value, bool) else str(value) for name, value in user.items()})
    return options


def _cpu_options(cpu: str) -> dict[str, str]:
    if cpu == NATIVE:
        return {"GGML_NATIVE": "ON"}
    if cpu == PORTABLE:
        return {"GGML_NATIVE": "OFF", **_PORTABLE}
    if _ARM_ARCHITECTURE.fullmatch(cpu):
        return {"GGML_NATIVE": "OFF", "GGML_CPU_ARM_ARCH": cpu}
    # Set all of them, because some are on by default without GGML_NATIVE.
    return {"GGML_NATIVE": "OFF", **{f"GGML_{name.upper()}": _switch(name in _features(cpu)) for name in _X86_FEATURES}}


def _features(cpu: str) -> list[str]:
    """Return the features in ``avx2,fma,f16c``; accepts the kernel's names and llama.cpp's."""
    ours = {kernel: name for name, kernel in _X86_FEATURES.items()}
    return [ours.get(name, name) for name in (part.strip().lower() for part in cpu.split(","))]


def cpu_problems(cpu: str, machine: str, variable: str, cpuinfo: str = "") -> list[Problem]:
    """Return the problems of the CPU to build for.

    With the text of ``/proc/cpuinfo``, also the features that this host lacks, because the release is tested here.
    """
    if cpu in (NATIVE, PORTABLE):
        return []
    if machine in ARM:
        wanted = f"{NATIVE}, {PORTABLE}, or an ARM architecture such as armv8.2-a+dotprod"
        return [] if _ARM_ARCHITECTURE.fullmatch(cpu) else [Problem(variable, f"'{cpu}'", wanted)]
    if machine not in X86:
        return [Problem(variable, f"'{cpu}'", f"{NATIVE} or {PORTABLE} on {machine}")]
    features = _features(cpu)
    unknown = [name for name in features if name not in _X86_FEATURES]
    if unknown:
        close = nearest(unknown[0], _X86_FEATURES) or list(_X86_FEATURES)
        return [
            Problem(
                variable,
                f"'{unknown[0]}'" if len(features) > 1 else f"'{cpu}'",
                f"{NATIVE}, {PORTABLE}, or CPU features such as {one_of(close)}",
            )
        ]
    lacking = [name for name in features if cpuinfo and _X86_FEATURES[name] not in cpu_flags(cpuinfo)]
    if not lacking:
        return []
    return [
        Problem(
            variable,
            f"{', '.join(lacking)}, which this CPU lacks",
            "features of this host's CPU",
            f"leave them out, or set it to {PORTABLE}",
        )
    ]


def flags_of_cpu(options: typing.Mapping[str, str]) -> tuple[str, ...]:
    """Return the x86-64 compiler flags that llama.cpp derives from the CMake ``options``.

    For several kinds of CPU, those of all of them.
    """
    if options.get("GGML_NATIVE") == "ON":
        return ("-march=native",)
    every = options.get("GGML_CPU_ALL_VARIANTS") == "ON"
    names = [name for name in _X86_FEATURES if every or options.get(f"GGML_{name.upper()}") == "ON"]
    return tuple(flag for name in names for flag in _X86_FLAGS.get(name, (f"-m{name.replace('_', '')}",)))


def libc() -> str:
    """Return the C library that binaries built here need: ``glibc 2.36``. They run with the same or a newer one."""
    try:
        return os.confstr("CS_GNU_LIBC_VERSION") or "another than glibc"
    except (OSError, ValueError):
        return "another than glibc"


def fingerprint(parts: typing.Mapping[str, typing.Any]) -> str:
    """Return the SHA-256 of ``parts`` in canonical JSON, so that equal parts always give the same name."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


@dataclasses.dataclass(frozen=True)
class Origins:
    """The origins of a fingerprint's parts: the user's settings, and what was inspected on the host."""

    source: str
    version: str
    cpu: str
    cpuinfo: str
    compiler: str  # its path
    cuda_toolkit: str  # its path
    cmake_options: typing.Collection[str] = ()  # the user's


def reasons(parts: typing.Mapping[str, typing.Any], origins: Origins) -> dict[str, str]:
    """Return one sentence per part of a fingerprint that explains the origin of its value."""
    sentences = {
        "source": f"the commit of llama_cpp_version '{origins.version or 'latest'}' in {origins.source}"
        if re.fullmatch("[0-9a-f]{40}", parts.get("source", ""))
        else f"the sha256 in llama_cpp_source ({origins.source})",
        "runtime": "the runtime_sha256 in llama_cpp_source",
        "build": f"llama_cpp_version is '{origins.version}'"
        if origins.version
        else f"the name in llama_cpp_source ({origins.source})",
        "backend": f"llama_cpp_backend is {parts.get('backend')}",
        "machine": "this host's machine name (uname)",
        "libc": "this host's C library, which binaries built here also need on other hosts",
        "cmake_options": f"the options for llama_cpp_backend and llama_cpp_cpu{_and_user(origins.cmake_options)}",
        "cuda_architectures": "llama_cpp_cuda_architectures",
        "cuda_toolkit": f"the version of {origins.cuda_toolkit}/bin/nvcc"
        if parts.get("cuda_toolkit")
        else "none, as llama_cpp_backend is not cuda",
        "cpu_features": f"llama_cpp_cpu is native: the features of this CPU ({cpu_model(origins.cpuinfo)})"
        if parts.get("cpu_features")
        else f"none, as llama_cpp_cpu is {origins.cpu}: the same on every CPU",
        "compiler": f"what {origins.compiler} -v prints",
        "recipe": "how this version of llama_fleet.core compiles: its batches and levels of optimization",
        "cures": f"the cures of known faults of {origins.compiler}, each found by a probe: {', '.join(parts['cures'])}"
        if parts.get("cures")
        else f"none, as no probe found a known fault of {origins.compiler}",
    }
    return {name: sentences.get(name, "") for name in parts}


def _and_user(names: typing.Collection[str]) -> str:
    return f", and {', '.join(sorted(names))} of llama_cpp_cmake_options" if names else ""


def cpu_features(cpuinfo: str) -> str:
    """Return a digest of the model and features of the first processor in ``/proc/cpuinfo``."""
    return hashlib.sha256(f"{cpu_model(cpuinfo)}\n{' '.join(sorted(cpu_flags(cpuinfo)))}".encode()).hexdigest()


def cpu_model(cpuinfo: str) -> str:
    """Return the model of the first processor in ``/proc/cpuinfo``; on ARM the numbers of its maker and part."""
    fields = _fields(cpuinfo)
    return fields.get("model name") or " ".join(
        fields.get(name, "") for name in ("CPU implementer", "CPU variant", "CPU part")
    )


def cpu_flags(cpuinfo: str) -> list[str]:
    """Return the features of the first processor in ``/proc/cpuinfo``, by the kernel's names."""
    fields = _fields(cpuinfo)
    return (fields.get("flags") or fields.get("Features") or "").split()


def _fields(cpuinfo: str) -> dict[str, str]:
    pairs = (line.partition(":") for line in cpuinfo.strip().partition("\n\n")[0].splitlines())
    return {name.strip(): value.strip() for name, _colon, value in pairs}


def _switch(value: bool) -> str:
    return "ON" if value else "OFF"
