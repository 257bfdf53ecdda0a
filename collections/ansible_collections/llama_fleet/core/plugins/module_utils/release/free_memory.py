# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Measure the memory that a model may take on this host."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import re
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.host import memory
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia import observe as nvidia
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia.host import MORE_FOLDERS, GpuHost
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.release.memory_plan import (
    MARGIN_MIB,
    PROGRAM,
    TIME_LIMIT,
)

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import Runner


@dataclasses.dataclass(frozen=True)
class Available:
    """Free memory in MiB. ``what`` describes it for messages: ``free on 2 GPUs`` or ``free RAM``."""

    mib: int
    what: str
    devices: int = 1

    @property
    def margin_mib(self) -> int:
        """Return the MiB of it that must stay free."""
        return MARGIN_MIB * self.devices


def memory_available(
    run: Runner, release: pathlib.Path | None = None, root: pathlib.Path = pathlib.Path("/")
) -> Available:
    """Return the free memory of all GPUs together, or of the host if there is no GPU.

    Also of the host if ``release`` cannot use the GPUs. Raises ProblemError if the free memory is unknown.
    """
    folders = tuple(os.environ.get("PATH", "").split(os.pathsep)) + MORE_FOLDERS
    gpus = nvidia.observe(GpuHost(run, root, folders)).gpus
    free = sum(gpu.memory_free_mib for gpu in gpus)
    if free and (release is None or _sees_gpu(run, release)):
        return Available(free, f"free on {len(gpus)} GPUs" if len(gpus) > 1 else "free on the GPU", len(gpus))
    ram = memory.memory_available(root)
    if not ram:
        raise ProblemError(
            Problem("memory", "no MemAvailable in /proc/meminfo", "the host's free memory", "set it by hand")
        )
    shared = any(gpu.shares_memory for gpu in gpus) and (release is None or _sees_gpu(run, release))
    return Available(ram >> 20, "free of the host's memory, which the GPU shares" if shared else "free RAM")


def _sees_gpu(run: Runner, release: pathlib.Path) -> bool:
    """Return whether the release can use a GPU.

    Each is named in a line such as ``  CUDA0: NVIDIA H200 (143771 MiB, 143000 MiB free)``.
    """
    result = run([str(release / "bin" / PROGRAM), "--list-devices"], cwd="/", timeout=TIME_LIMIT)
    return re.search(r"^ +\S+: .*\bMiB\b", result.stdout, re.MULTILINE) is not None
