# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Prove a CUDA toolkit by compiling and linking a small program with it."""

from __future__ import annotations

import pathlib
import shutil
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.cuda.plan import (
    PATH_VARIABLE,
    WHOLE,
    Toolkit,
    ToolkitHost,
    UnfitError,
    Wanted,
    examine,
    has_compiler,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.cuda.wheels import PROVEN
from ansible_collections.llama_fleet.core.plugins.module_utils.host import files
from ansible_collections.llama_fleet.core.plugins.module_utils.host.scratch import scratch
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.untrusted import Table, Text, Word

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.progress import Progress

_PROOF_LIMIT = 300.0  # seconds
# It includes what llama.cpp's CUDA code includes, because a toolkit may know the compiler but not its headers.
_PROOF = """\
#include <cublas_v2.h>
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <algorithm>
#include <atomic>
#include <cmath>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>
__global__ void add(float * to, const float * from) { to[threadIdx.x] += from[threadIdx.x]; }
int main() {
    cublasHandle_t handle;
    std::function<void()> run = [] { add<<<1, 1>>>(nullptr, nullptr); };
    run();
    return cublasCreate(&handle) == CUBLAS_STATUS_SUCCESS ? 0 : 1;
}
"""


def prove(toolkit: Toolkit, wanted: Wanted, host: ToolkitHost) -> None:
    """Compile and link a small program. Raises ProblemError with the compiler's first error."""
    refused = refusal(toolkit, wanted, host)
    if refused:
        fix = (
            f"install a C++ compiler that CUDA {toolkit.version} supports, or use another CUDA: leave {PATH_VARIABLE} "
            f"empty to have one found or installed that works here"
        )
        raise ProblemError(
            Problem("CUDA toolkit", refused, "a toolkit that works with this compiler and C library", fix)
        )


def refusal(toolkit: Toolkit, wanted: Wanted, host: ToolkitHost) -> str:
    """Compile and link a small program; return the compiler's first error, or an empty string."""
    nvcc, library = toolkit.path / "bin/nvcc", toolkit.library
    number = wanted.numbers[0] if wanted.numbers else ""
    with scratch() as folder:
        source = folder / "proof.cu"
        source.write_text(_PROOF, encoding="utf-8")
        command = [
            str(nvcc),
            *([f"-arch=sm_{number}"] if number else []),
            "-o",
            f"{folder}/proof",
            str(source),
            f"-L{library}",
            "-lcublas",
        ]
        result = host.run([*command, "-Xlinker", f"-rpath-link={library}"], cwd=str(folder), timeout=_PROOF_LIMIT)
    if result.ok:
        return ""
    lines = (result.stderr + result.stdout).splitlines()
    error = next((line for line in lines if "error" in line.lower()), lines[0] if lines else f"exit code {result.code}")
    return f"{nvcc} (CUDA {toolkit.version}), which cannot build a small program: {error.strip()[:300]}"


def accept(folder: pathlib.Path, wanted: Wanted, host: ToolkitHost) -> str:
    """Examine and prove a newly unpacked toolkit; return the version line of its nvcc. Raises ProblemError."""
    try:
        toolkit = examine(folder, wanted, host)
    except UnfitError as reason:
        fix = "check that the host can run programs from NVIDIA's wheels (manylinux), or name a toolkit of the host"
        raise ProblemError(Problem("CUDA toolkit", str(reason), WHOLE, f"{fix} in {PATH_VARIABLE}")) from reason
    prove(toolkit, wanted, host)
    return toolkit.nvcc


def proof_key(toolkit: Toolkit, wanted: Wanted, host: ToolkitHost) -> str:
    """Return a key that changes when the proof must be repeated: with another nvcc, compiler, C library or GPU."""
    compiler = pathlib.Path(shutil.which("g++", path=":".join(host.folders)) or "g++").resolve()
    headers = host.root / "usr/include"
    # The C library's functions that nvcc's headers declare as well.
    maths = [*headers.glob("*-linux-gnu/bits/mathcalls.h"), *headers.glob("bits/mathcalls.h")]
    places = (toolkit.path / "bin/nvcc", compiler, *sorted(maths))
    return " ".join(
        [*(f"{place}:{place.stat().st_size}:{place.stat().st_mtime_ns}" for place in places), *wanted.numbers[:1]]
    )


class Trials:
    """The trials of the host's toolkits. One that passed is tried again only after it or the compiler changed."""

    def __init__(self, wanted: Wanted, host: ToolkitHost, progress: Progress) -> None:
        self._wanted, self._host, self._progress = wanted, host, progress
        self._memory = wanted.root / "toolkits" / PROVEN
        self._new: dict[str, str] = {}

    def refusal(self, toolkit: Toolkit) -> str:
        """Return the compiler's error; empty if it compiles, or if there is no compiler yet."""
        if not self._due(toolkit):
            return ""
        refused = refusal(toolkit, self._wanted, self._host)
        if not refused:
            self._new[str(toolkit.path)] = proof_key(toolkit, self._wanted, self._host)
        return refused

    def require(self, toolkit: Toolkit) -> None:
        """Try a toolkit that was asked for. Raises ProblemError."""
        if self._due(toolkit):
            prove(toolkit, self._wanted, self._host)
            self._new[str(toolkit.path)] = proof_key(toolkit, self._wanted, self._host)

    def remember(self) -> None:
        """Write the toolkits that passed."""
        if self._new:
            files.write_json(self._memory, {**self._proven(), **self._new})

    def _due(self, toolkit: Toolkit) -> bool:
        if not has_compiler(self._host):
            return False
        key = proof_key(toolkit, self._wanted, self._host)
        if self._proven().get(str(toolkit.path)) == key:
            return False
        self._progress.stage(f"trying CUDA toolkit {toolkit.version}")
        return True

    def _proven(self) -> dict[str, str]:
        return files.read_json(self._memory, Table(Text(), keys=Word())) or {}
