# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""What makes a build of llama.cpp: its CMake options, and the fingerprint over all that shapes the binaries."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp_source import build_number
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem

CUDA = "cuda"
NATIVE = "native"

_OPTION_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.+-]*")
_ARCHITECTURE = re.compile(r"[0-9]{2,3}[af]?(-real|-virtual)?")

_COMMON = {
    "CMAKE_BUILD_TYPE": "Release",
    "BUILD_SHARED_LIBS": "ON",
    # Programs find their libraries wherever the release is moved to.
    "CMAKE_INSTALL_RPATH": "$ORIGIN",
    "CMAKE_BUILD_WITH_INSTALL_RPATH": "ON",
    "LLAMA_BUILD_TESTS": "OFF",
    "LLAMA_BUILD_EXAMPLES": "OFF",
    # The web interface would be downloaded during the build.
    "LLAMA_BUILD_UI": "OFF",
    "LLAMA_USE_PREBUILT_UI": "OFF",
    # The compiler cache is chosen here, not there.
    "GGML_CCACHE": "OFF",
}
_PORTABLE_X86 = ("GGML_SSE42", "GGML_AVX", "GGML_AVX2", "GGML_FMA", "GGML_F16C", "GGML_BMI2")
# A host that compiles needs no driver: libcuda may be missing when the linker looks.
_LINK_WITHOUT_DRIVER = "-Wl,--allow-shlib-undefined"
_CUDA = {
    "GGML_CUDA": "ON",
    "GGML_CUDA_NO_VMM": "ON",
    "GGML_CUDA_NCCL": "OFF",
    "CMAKE_EXE_LINKER_FLAGS": _LINK_WITHOUT_DRIVER,
    "CMAKE_SHARED_LINKER_FLAGS": _LINK_WITHOUT_DRIVER,
}

UserOptions = typing.Mapping[str, typing.Any]


@dataclasses.dataclass(frozen=True)
class Target:
    """What to build for. ``cpu`` is ``native`` or ``portable``, ``machine`` as uname says it."""

    backend: str
    cpu: str
    machine: str
    cuda_architectures: tuple[str, ...] = ()


def option_problems(options: UserOptions, variable: str) -> list[Problem]:
    """Every name or value in the user's options that CMake could not take."""
    problems = []
    for name, value in options.items():
        if not isinstance(name, str) or not _OPTION_NAME.fullmatch(name):
            problems.append(Problem(variable, f"the name '{name}'", "the name of a CMake variable, without '-D', such as GGML_CUDA_FA"))
        elif not isinstance(value, (str, int, float)) or "\n" in str(value):
            problems.append(Problem(variable, f"{name} with the value {value!r}", "one line of text, a number or a truth value"))
    return problems


def architecture_problems(architectures: typing.Iterable[str], variable: str) -> list[Problem]:
    """Every CUDA architecture that is not spelt as CMake spells them."""
    return [Problem(variable, f"'{name}'", "architectures such as '90-real' or '120a-real'") for name in architectures if not _ARCHITECTURE.fullmatch(name)]


def cmake_options(target: Target, build: str, commit: str, openssl: bool, user: UserOptions) -> dict[str, str]:
    """Every CMake option that shapes the binaries, but no path of this host. The user's win."""
    options = {
        **_COMMON,
        "LLAMA_BUILD_NUMBER": str(build_number(build)),
        "LLAMA_BUILD_COMMIT": commit[:9] or "archive",
        "LLAMA_OPENSSL": _switch(openssl),
        "GGML_NATIVE": _switch(target.cpu == NATIVE),
    }
    if target.cpu != NATIVE and target.machine in ("x86_64", "amd64"):
        options.update(dict.fromkeys(_PORTABLE_X86, "ON"))
    if target.backend == CUDA:
        options.update(_CUDA, CMAKE_CUDA_ARCHITECTURES=";".join(target.cuda_architectures))
    options.update({name: _switch(value) if isinstance(value, bool) else str(value) for name, value in user.items()})
    return options


def fingerprint(parts: typing.Mapping[str, typing.Any]) -> str:
    """sha256 over ``parts`` in one canonical spelling, so that the same parts always give the same name."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def cpu_features(cpuinfo: str) -> str:
    """One digest of what the first processor in ``/proc/cpuinfo`` is and can do."""
    fields: dict[str, str] = {}
    for line in cpuinfo.strip().partition("\n\n")[0].splitlines():
        name, _colon, value = line.partition(":")
        fields[name.strip()] = value.strip()
    model = fields.get("model name") or " ".join(fields.get(name, "") for name in ("CPU implementer", "CPU variant", "CPU part"))
    flags = " ".join(sorted((fields.get("flags") or fields.get("Features") or "").split()))
    return hashlib.sha256(f"{model}\n{flags}".encode()).hexdigest()


def _switch(value: bool) -> str:
    return "ON" if value else "OFF"
