# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Phase 2: a small program, compiled by nvcc, computes on the GPU what the CPU computes too."""

from __future__ import annotations

import json
import pathlib
import shutil
import subprocess
import time
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.cuda import plan as cuda
from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import run as run_command
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia import observe as nvidia
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia.host import GpuHost
from tests.gpu import toolkit
from tests.gpu.frame import Phase
from tests.gpu.session import FailedError, Run

if typing.TYPE_CHECKING:
    from tests.gpu.journal import Values

# One source for both compilers, so that a run without a GPU tries all but the launch.
PROGRAM = r"""
#include <cstdio>
#include <cstdlib>
#include <vector>
#ifdef __CUDACC__
#define CHECK(call) do { cudaError_t e = (call); \\
    if (e != cudaSuccess) { printf("%s: %s\n", #call, cudaGetErrorString(e)); return 1; } } while (0)
__global__ void add(float *to, const float *from, int count) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) to[i] = to[i] * 2 + from[i];
}
#endif
int main() {
    const int count = 1 << 20;
    std::vector<float> to(count), from(count), wanted(count);
    for (int i = 0; i < count; i++) { to[i] = i % 1000; from[i] = i % 7; wanted[i] = to[i] * 2 + from[i]; }
    const char *device = "CPU";
#ifdef __CUDACC__
    float *a, *b;
    size_t size = count * sizeof(float);
    cudaDeviceProp told;
    CHECK(cudaGetDeviceProperties(&told, 0));
    CHECK(cudaMalloc(&a, size));
    CHECK(cudaMalloc(&b, size));
    CHECK(cudaMemcpy(a, to.data(), size, cudaMemcpyHostToDevice));
    CHECK(cudaMemcpy(b, from.data(), size, cudaMemcpyHostToDevice));
    add<<<(count + 255) / 256, 256>>>(a, b, count);
    CHECK(cudaGetLastError());
    CHECK(cudaMemcpy(to.data(), a, size, cudaMemcpyDeviceToHost));
    device = told.name;
#else
    for (int i = 0; i < count; i++) to[i] = to[i] * 2 + from[i];
#endif
    int wrong = 0;
    for (int i = 0; i < count; i++) wrong += to[i] != wanted[i];
    printf("{\"device\": \"%s\", \"count\": %d, \"wrong\": %d}\n", device, count, wrong);
    return wrong != 0;
}
"""


def run(run: Run) -> typing.Iterator[Values]:
    source, program = run.work / "small.cu", run.work / "small"
    source.write_text(PROGRAM, encoding="utf-8")
    compiler, options = nvcc(run) if run.gpu else ("c++", ["-x", "c++"])
    began = time.monotonic()
    done = subprocess.run(
        [compiler, *options, "-o", program, source], capture_output=True, text=True, check=False, timeout=300
    )
    if done.returncode:
        raise FailedError(f"{compiler} ended with {done.returncode}: {(done.stderr or done.stdout).strip()[:1000]}")
    yield {"compiler": compiler, "options": options, "compile_seconds": round(time.monotonic() - began, 1)}
    began = time.monotonic()
    done = subprocess.run([program], capture_output=True, text=True, check=False, timeout=60)
    if done.returncode:
        raise FailedError(f"the small program ended with {done.returncode}: {done.stdout.strip()[:1000]}")
    yield {**json.loads(done.stdout), "run_seconds": round(time.monotonic() - began, 2)}


def nvcc(run: Run) -> tuple[str, list[str]]:
    """Return the compiler of the host's toolkit, or of the parcel's, and its options for this GPU alone."""
    host = toolkit.host()
    capabilities = [gpu.compute_capability for gpu in nvidia.observe(GpuHost(run_command, folders=host.folders)).gpus]
    places = [
        *(folder / "bin/nvcc" for folder in cuda.candidates(host)),
        *sorted(run.root.glob("toolkits/cuda-*/bin/nvcc")),
    ]
    found = next((str(place) for place in places if pathlib.Path(place).exists()), shutil.which("nvcc"))
    if not found:
        raise FailedError("there is no nvcc yet")
    return found, [f"-arch=sm_{capability.replace('.', '')}" for capability in capabilities[:1]]


PHASE = Phase("cuda", run, 20)
