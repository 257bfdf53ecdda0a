# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Prove a CUDA toolkit by compiling and linking a small program with it."""

from __future__ import annotations

import pathlib
import shutil

from ansible_collections.llama_fleet.core.plugins.module_utils.cuda.plan import (
    PATH_VARIABLE,
    WHOLE,
    Toolkit,
    ToolkitHost,
    UnfitError,
    Wanted,
    examine,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.host.scratch import scratch
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError

_PROOF_LIMIT = 300.0  # seconds
_PROOF = """\
#include <cublas_v2.h>
__global__ void add(float * to, const float * from) { to[threadIdx.x] += from[threadIdx.x]; }
int main() {
    cublasHandle_t handle;
    add<<<1, 1>>>(nullptr, nullptr);
    return cublasCreate(&handle) == CUBLAS_STATUS_SUCCESS ? 0 : 1;
}
"""


def prove(toolkit: Toolkit, wanted: Wanted, host: ToolkitHost) -> None:
    """Compile and link a small program. Raises ProblemError with the compiler's first error."""
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
    if not result.ok:
        lines = (result.stderr + result.stdout).splitlines()
        error = next(
            (line for line in lines if "error" in line.lower()), lines[0] if lines else f"exit code {result.code}"
        )
        failing = f"{nvcc} (CUDA {toolkit.version}), which cannot build a small program: {error.strip()[:300]}"
        wanted_pair = "a toolkit and a C++ compiler that work together"
        fix = f"install a compiler that CUDA {toolkit.version} supports, or name another toolkit in {PATH_VARIABLE}"
        raise ProblemError(Problem("CUDA toolkit", failing, wanted_pair, fix))


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
    """Return a key that changes when the proof must be repeated: with another nvcc, compiler or GPU."""
    compiler = shutil.which("g++", path=":".join(host.folders)) or "g++"
    places = (toolkit.path / "bin/nvcc", pathlib.Path(compiler).resolve())
    return " ".join(
        [*(f"{place}:{place.stat().st_size}:{place.stat().st_mtime_ns}" for place in places), *wanted.numbers[:1]]
    )
