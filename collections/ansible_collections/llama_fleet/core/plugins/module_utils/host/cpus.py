# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Count the usable CPUs from physical and performance cores, cgroup quota (version 1 or 2) and affinity."""

from __future__ import annotations

import dataclasses
import math
import os
import pathlib
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.host import control_groups
from ansible_collections.llama_fleet.core.plugins.module_utils.plain_text import whole

_MOST_CPUS = 65536
# Efficiency cores reach at most 0.81 of the highest frequency of their CPU's performance cores (Core Ultra 9 285K).
_FAST = 0.85


@dataclasses.dataclass(frozen=True)
class Cpus:
    """CPU counts: ``logical`` CPUs in the affinity mask, their ``physical`` cores, and the cgroup ``quota`` in CPUs.

    ``performance`` is the number of cores worth computing on, if a hybrid CPU has slower ones beside them, else 0.
    """

    logical: int
    physical: int
    quota: float = math.inf
    performance: int = 0

    @property
    def threads(self) -> int:
        """Return how many compute threads to run.

        Hyper-threads add nothing, all threads wait for one on an efficiency core, and a quota throttles any more.
        """
        return self._within_quota(self.performance or self.physical)

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
    cores = _cores(root, allowed)
    performance = _performance_cores(root, cores)
    return Cpus(len(allowed), max(1, len(cores)), quota(root), performance if performance < len(cores) else 0)


def _cores(root: pathlib.Path, allowed: typing.Sequence[int]) -> list[int]:
    """Return the first ``allowed`` CPU of each core; sibling CPUs share one."""
    cores: dict[str, int] = {}
    for cpu in allowed:
        siblings = _read(root / f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        cores.setdefault(siblings or str(cpu), cpu)
    return list(cores.values())


def _performance_cores(root: pathlib.Path, cores: typing.Sequence[int]) -> int:
    """Return how many of ``cores`` compute fastest together; all of them if the host does not tell them apart."""
    # Intel's hybrid CPUs: the kernel lists the performance cores; the others are E-cores and LP-E-cores.
    listed = _listed(_read(root / "sys/devices/cpu_core/cpus"))
    if listed:
        return sum(1 for cpu in cores if cpu in listed) or len(cores)
    # ARM: the kernel rates each CPU, the fastest at 1024.
    rated = _of_each(root, cores, "cpu_capacity")
    if not rated or not all(rated):
        return _fast_cores(root, cores)
    # Threads compute in lockstep, at the pace of the slowest.
    fastest = sorted(rated, reverse=True)
    return max(range(1, len(fastest) + 1), key=lambda count: count * fastest[count - 1])


def _fast_cores(root: pathlib.Path, cores: typing.Sequence[int]) -> int:
    """Return how many of an Intel CPU's ``cores`` are performance cores, by their highest frequencies.

    A kernel without support for the performance counters of a hybrid CPU does not list its performance cores. Favoured
    cores of other CPUs are a few percent faster than the rest; at the same frequency, cores of AMD compute the same.
    """
    frequencies = _of_each(root, cores, "cpufreq/cpuinfo_max_freq")
    if not frequencies or not all(frequencies) or "GenuineIntel" not in _read(root / "proc/cpuinfo"):
        return len(cores)
    return sum(1 for frequency in frequencies if frequency >= _FAST * max(frequencies))


def _of_each(root: pathlib.Path, cores: typing.Sequence[int], name: str) -> list[int]:
    """Return the number in the file ``name`` of each CPU; 0 if it has none."""
    return [whole(_read(root / f"sys/devices/system/cpu/cpu{cpu}/{name}")) or 0 for cpu in cores]


def _listed(text: str) -> frozenset[int]:
    """Return the CPUs of a kernel's list such as ``0-3,8``; none for anything else."""
    numbers: set[int] = set()
    for part in text.split(","):
        first, _dash, last = part.partition("-")
        start, end = whole(first), whole(last or first)
        if start is None or end is None or not start <= end < _MOST_CPUS:
            return frozenset()
        numbers.update(range(start, end + 1))
    return frozenset(numbers)


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
