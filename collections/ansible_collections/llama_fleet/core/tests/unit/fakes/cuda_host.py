# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""CUDA toolkits whose nvcc is a script that answers as the real one does."""

from __future__ import annotations

import typing

if typing.TYPE_CHECKING:
    import pathlib

CUDA_12 = "50 60 70 75 80 86 89 90"
CUDA_13 = "75 80 86 87 88 89 90 100 103 110 120 121"


def add_toolkit(
    folder: pathlib.Path, version: str, architectures: str = CUDA_13, cublas: bool = True, build: str = "exit 0"
) -> None:
    """Write a toolkit in NVIDIA's layout; ``build`` is the shell code that its nvcc runs to compile."""
    for name in ("bin", "include", "lib64"):
        (folder / name).mkdir(parents=True)
    (folder / "include/cuda_runtime.h").touch()
    if cublas:
        (folder / "include/cublas_v2.h").touch()
        (folder / "lib64/libcublas.so").touch()
    release = ".".join(version.split(".")[:2])
    listed = "\\n".join(f"compute_{number}" for number in architectures.split())
    nvcc = folder / "bin/nvcc"
    nvcc.write_text(
        "#!/bin/sh\n"
        'case "$1" in\n'
        f'--version) printf "nvcc: NVIDIA (R) Cuda compiler driver\\nCuda compilation tools, release {release}, '
        f'V{version}\\n";;\n'
        f'--list-gpu-arch) printf "{listed}\\n";;\n'
        f"*) {build};;\n"
        "esac\n"
    )
    nvcc.chmod(0o755)
