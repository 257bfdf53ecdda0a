# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Measure available memory and derive the number of parallel compile jobs from it."""

from __future__ import annotations

import pathlib
import re

from ansible_collections.llama_fleet.core.plugins.module_utils.host import control_groups
from ansible_collections.llama_fleet.core.plugins.module_utils.plain_text import whole

GIB = 1 << 30


def job_count(requested: int, cpus: int, memory: int, memory_per_job: int) -> int:
    """Return ``requested`` if positive, else the job count that ``cpus`` and ``memory`` allow.

    ``memory`` and ``memory_per_job`` are in bytes; 0 means that the free memory is unknown.
    """
    if requested > 0:
        return requested
    return max(1, min(cpus, memory // memory_per_job) if memory > 0 else cpus)


def memory_available(system: pathlib.Path = pathlib.Path("/")) -> int:
    """Return the bytes that new processes can use within this process's cgroups (version 1 or 2); 0 if unknown."""
    available = [
        int(kib) * 1024
        for kib in re.findall(r"^MemAvailable:\s+([0-9]{1,18})\b", _read(system / "proc/meminfo"), re.MULTILINE)
    ]
    for memory in control_groups.memory(system):
        available += [
            left for folder in control_groups.folders(memory.mount, memory.group) for left in _left(folder, memory)
        ]
    return min(available, default=0)


def _left(folder: pathlib.Path, memory: control_groups.Memory) -> list[int]:
    """Return the bytes left below a cgroup's limit, if it has one; file cache counts as free."""
    limit, used = _read(folder / memory.limit), _read(folder / memory.used)
    cached = re.search(rf"^{memory.prefix}inactive_file ([0-9]{{1,18}})$", _read(folder / "memory.stat"), re.MULTILINE)
    return (
        [max(1, int(limit) - int(used) + (int(cached[1]) if cached else 0))]
        if whole(limit) is not None and whole(used) is not None
        else []
    )


def _read(path: pathlib.Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return ""
