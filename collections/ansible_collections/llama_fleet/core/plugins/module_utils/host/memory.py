# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""How many compilers a host bears at once: by its CPUs and its free memory."""

from __future__ import annotations

import pathlib
import re

from ansible_collections.llama_fleet.core.plugins.module_utils.host import control_groups
from ansible_collections.llama_fleet.core.plugins.module_utils.untrusted import whole

GIB = 1 << 30


def job_count(requested: int, cpus: int, memory: int, memory_per_job: int) -> int:
    """``requested`` if it is given, else as many jobs as ``cpus`` and free ``memory`` (in bytes; 0: unknown) allow."""
    if requested > 0:
        return requested
    return max(1, min(cpus, memory // memory_per_job) if memory > 0 else cpus)


def memory_available(system: pathlib.Path = pathlib.Path("/")) -> int:
    """Bytes that new processes can use, within this process's cgroups (version 1 or 2); 0 where unknown."""
    available = [
        int(kib) * 1024
        for kib in re.findall(r"^MemAvailable:\s+([0-9]{1,18})\b", _read(system / "proc/meminfo"), re.MULTILINE)
    ]
    for memory in control_groups.memory(system):
        available += [left for folder in _with_parents(memory.mount, memory.group) for left in _left(folder, memory)]
    return min(available, default=0)


def _left(folder: pathlib.Path, memory: control_groups.Memory) -> list[int]:
    """Bytes that a cgroup's limit leaves, if it has one. Cached files count as used and yet make room."""
    limit, used = _read(folder / memory.limit), _read(folder / memory.used)
    cached = re.search(rf"^{memory.prefix}inactive_file ([0-9]{{1,18}})$", _read(folder / "memory.stat"), re.MULTILINE)
    return (
        [max(1, int(limit) - int(used) + (int(cached[1]) if cached else 0))]
        if whole(limit) is not None and whole(used) is not None
        else []
    )


def _with_parents(mount: pathlib.Path, group: str) -> list[pathlib.Path]:
    """A cgroup and all above it, each of which can set a limit; a container sees its own as the topmost, by another
    name.
    """
    own = mount / group.strip("/")
    return list(dict.fromkeys([own, *(parent for parent in own.parents if mount in parent.parents), mount]))


def _read(path: pathlib.Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return ""
