# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""How many compilers a host bears at once: by its CPUs and its free memory."""

from __future__ import annotations

import pathlib

GIB = 1 << 30


def job_count(requested: int, cpus: int, memory: int, memory_per_job: int) -> int:
    """``requested`` if it is given, else as many jobs as ``cpus`` and free ``memory`` (in bytes; 0: unknown) allow."""
    if requested > 0:
        return requested
    return max(1, min(cpus, memory // memory_per_job) if memory > 0 else cpus)


def memory_available(system: pathlib.Path = pathlib.Path("/")) -> int:
    """Bytes that new processes can use, within this process's cgroup; 0 where unknown."""
    groups = system / "sys/fs/cgroup"
    available = [int(line.split()[1]) * 1024 for line in _read(system / "proc/meminfo").splitlines() if line.startswith("MemAvailable:")]
    for folder in _own_groups(groups, _read(system / "proc/self/cgroup")):
        limit, used = _read(folder / "memory.max"), _read(folder / "memory.current")
        if limit.isdigit() and used.isdigit():
            available.append(max(1, int(limit) - int(used) + _reclaimable(_read(folder / "memory.stat"))))
    return min(available, default=0)


def _reclaimable(stat: str) -> int:
    """Bytes of cached files: they count as used and yet make room."""
    return sum(int(line.split()[1]) for line in stat.splitlines() if line.startswith("inactive_file "))


def _own_groups(groups: pathlib.Path, membership: str) -> list[pathlib.Path]:
    """The v2 cgroup of this process and all above it, each of which can set a limit."""
    path = next((line[len("0::") :] for line in membership.splitlines() if line.startswith("0::")), "/")
    own = groups / path.strip("/")
    return [folder for folder in (own, *own.parents) if folder == groups or groups in folder.parents]


def _read(path: pathlib.Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return ""
