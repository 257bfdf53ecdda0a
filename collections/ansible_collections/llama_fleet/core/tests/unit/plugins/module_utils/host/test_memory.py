# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.host.memory import GIB, job_count, memory_available

if typing.TYPE_CHECKING:
    import pathlib


@pytest.mark.parametrize(
    ("requested", "cpus", "memory", "per_job", "jobs"),
    [
        (0, 8, 64 * GIB, GIB, 8),
        (0, 8, 3 * GIB, GIB, 3),
        (0, 8, 7 * GIB, 2 * GIB, 3),
        (0, 8, GIB // 2, GIB, 1),
        (0, 8, 0, GIB, 8),
        (5, 2, GIB, GIB, 5),
    ],
)
def test_jobs(requested: int, cpus: int, memory: int, per_job: int, jobs: int) -> None:
    assert job_count(requested, cpus, memory, per_job) == jobs


@pytest.mark.parametrize(
    ("files", "available"),
    [
        ({}, 0),
        ({"proc/meminfo": "MemTotal: 9 kB\nMemAvailable:    2048 kB\n"}, 2048 * 1024),
        (
            {
                "proc/meminfo": "MemAvailable: 4096 kB\n",
                "proc/self/cgroup": "0::/a/b\n",
                "sys/fs/cgroup/a/memory.max": "1000000",
                "sys/fs/cgroup/a/memory.current": "400000",
                "sys/fs/cgroup/a/memory.stat": "anon 1\ninactive_file 100000\n",
                "sys/fs/cgroup/a/b/memory.max": "max",
                "sys/fs/cgroup/a/b/memory.current": "5",
            },
            700000,
        ),
        (
            {
                "proc/meminfo": "MemAvailable: 4096 kB\n",
                "proc/self/cgroup": "5:memory:/a/b\n4:cpu,cpuacct:/a/b\n0::/\n",
                "sys/fs/cgroup/memory/a/memory.limit_in_bytes": "1000000",
                "sys/fs/cgroup/memory/a/memory.usage_in_bytes": "600000",
                "sys/fs/cgroup/memory/a/memory.stat": "inactive_file 1\ntotal_inactive_file 50000\n",
                "sys/fs/cgroup/memory/a/b/memory.limit_in_bytes": "9223372036854771712",
                "sys/fs/cgroup/memory/a/b/memory.usage_in_bytes": "5",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "-1",
            },
            450000,
        ),
        (
            {
                "proc/meminfo": "MemAvailable: 4096 kB\n",
                "proc/self/cgroup": "5:memory:/docker/of-the-host\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "3000",
                "sys/fs/cgroup/memory/memory.usage_in_bytes": "1000",
            },
            2000,
        ),
        (
            {
                "proc/meminfo": "MemAvailable: 1 kB\n",
                "proc/self/cgroup": "0::/\n",
                "sys/fs/cgroup/memory.max": "10",
                "sys/fs/cgroup/memory.current": "20",
            },
            1,
        ),
    ],
)
def test_memory(tmp_path: pathlib.Path, files: dict[str, str], available: int) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert memory_available(tmp_path) == available
