# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Count the usable CPUs from physical cores, cgroup quota (version 1 or 2) and affinity."""

from __future__ import annotations

import dataclasses
import math
import os
import pathlib
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.host import control_groups
from ansible_collections.llama_fleet.core.plugins.module_utils.untrusted import whole


@dataclasses.dataclass(frozen=True)
class Cpus:
    """CPU counts: ``logical`` CPUs in the affinity mask, their ``physical`` cores, and the cgroup ``quota`` in CPUs."""

    logical: int
    physical: int
    quota: float = math.inf

    @property
    def threads(self) -> int:
        """Return how many compute threads to run: hyper-threads add nothing, and a quota throttles any more."""
        return self._within_quota(self.physical)

    @property
    def jobs(self) -> int:
        """Return how many processes (such as compilers) are worth running at once."""
        return self._within_quota(self.logical)

    def _within_quota(self, count: int) -> int:
        # Round to nearest: one extra thread loses less to the quota than half a CPU gains (benchmarks/threads.py).
        return max(1, count if math.isinf(self.quota) else min(count, math.floor(self.quota + 0.5)))


def observe(root: pathlib.Path = pathlib.Path("/"), affinity: typing.Iterable[int] | None = None) -> Cpus:
    """Return the CPUs of this process on the host below ``root``; ``affinity`` defaults to this process's own."""
    allowed = sorted(os.sched_getaffinity(0) if affinity is None else affinity)
    return Cpus(len(allowed), physical_cores(root, allowed), quota(root))


def physical_cores(root: pathlib.Path, allowed: typing.Sequence[int]) -> int:
    """Count the cores behind the ``allowed`` CPUs; sibling CPUs share one."""
    cores = set()
    for cpu in allowed:
        siblings = _read(root / f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        cores.add(siblings or str(cpu))
    return max(1, len(cores))


def quota(root: pathlib.Path) -> float:
    """Return the tightest CPU quota of this process's cgroups and their parents, in CPUs (infinite if none)."""
    limits = [math.inf]
    for line in _read(root / "proc/self/cgroup").splitlines():
        _hierarchy, controllers, group = ([*line.split(":", 2), "", ""])[:3]
        if not controllers:
            limits += [
                _quota_v2(_read(folder / "cpu.max")) for folder in control_groups.folders(root / "sys/fs/cgroup", group)
            ]
        elif "cpu" in controllers.split(","):
            for mount in (controllers, "cpu", "cpu,cpuacct"):
                limits += [
                    _quota_v1(_read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us"))
                    for folder in control_groups.folders(root / "sys/fs/cgroup" / mount, group)
                ]
    return min(limits)


def _quota_v2(text: str) -> float:
    words = text.split()
    return _ratio(words[0], words[1]) if len(words) == 2 else math.inf


def _quota_v1(quota_us: str, period_us: str) -> float:
    return _ratio(quota_us, period_us)


def _ratio(quota_us: str, period_us: str) -> float:
    microseconds, period = whole(quota_us), whole(period_us)
    return math.inf if microseconds is None or not period else microseconds / period


def _read(path: pathlib.Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except (OSError, ValueError):  # ValueError: a group name that is no valid path
        return ""
