# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import math
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.host import cpus

if typing.TYPE_CHECKING:
    import pathlib


def host(root: pathlib.Path, files: typing.Mapping[str, str]) -> pathlib.Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n", encoding="ascii")
    return root


def cores(*siblings: str) -> dict[str, str]:
    return {
        f"sys/devices/system/cpu/cpu{number}/topology/thread_siblings_list": text
        for number, text in enumerate(siblings)
    }


HYPER_THREADED = cores("0,4", "1,5", "2,6", "3,7", "0,4", "1,5", "2,6", "3,7")
# Four CPUs of two performance cores, then two efficiency cores.
HYBRID = cores("0-1", "0-1", "2-3", "2-3", "4", "5")


def rated(*capacities: str) -> dict[str, str]:
    files = cores(*map(str, range(len(capacities))))
    return files | {f"sys/devices/system/cpu/cpu{cpu}/cpu_capacity": text for cpu, text in enumerate(capacities)}


@pytest.mark.parametrize(
    ("files", "affinity", "threads", "performance"),
    [
        pytest.param({**HYBRID, "sys/devices/cpu_core/cpus": "0-3"}, range(6), 2, 2, id="performance cores"),
        pytest.param({**HYBRID, "sys/devices/cpu_core/cpus": "0-1,4,5"}, range(6), 3, 3, id="a list of ranges"),
        pytest.param({**HYBRID, "sys/devices/cpu_core/cpus": "0-3"}, [0, 4, 5], 1, 1, id="affinity to one of them"),
        pytest.param({**HYBRID, "sys/devices/cpu_core/cpus": "0-3"}, [4, 5], 2, 0, id="affinity to none of them"),
        pytest.param({**HYBRID, "sys/devices/cpu_core/cpus": "0-5"}, range(6), 4, 0, id="no efficiency cores"),
        pytest.param({**HYBRID, "sys/devices/cpu_core/cpus": "3-0"}, range(6), 4, 0, id="a list that is none"),
        pytest.param({**HYBRID, "sys/devices/cpu_core/cpus": "0-999999999999"}, range(6), 4, 0, id="too many CPUs"),
        pytest.param(rated("400", "400", "1024", "1024"), range(4), 2, 2, id="small cores"),
        pytest.param(rated("600", "600", "1024", "1024"), range(4), 4, 0, id="small cores that are worth it"),
        pytest.param(rated("400", "400", "1024", "1024"), [0, 1], 2, 0, id="affinity to small cores"),
        pytest.param(rated("400", "what", "1024", "1024"), range(4), 4, 0, id="a core that is not rated"),
        pytest.param(rated("400", "0", "1024", "1024"), range(4), 4, 0, id="a core that is rated zero"),
    ],
)
def test_efficiency_cores_do_not_compute(
    tmp_path: pathlib.Path, files: dict[str, str], affinity: typing.Sequence[int], threads: int, performance: int
) -> None:
    observed = cpus.observe(host(tmp_path, files), affinity)
    assert (observed.threads, observed.performance, observed.jobs) == (threads, performance, len(affinity))


@pytest.mark.parametrize(
    ("files", "affinity", "threads", "jobs"),
    [
        pytest.param({}, [0, 1], 2, 2, id="nothing known of the topology"),
        pytest.param(cores("0", "1"), [0, 1], 2, 2, id="two cores"),
        pytest.param(HYPER_THREADED, range(8), 4, 8, id="hyper-threads are no cores"),
        pytest.param(HYPER_THREADED, [0, 4, 1], 2, 3, id="affinity to two cores"),
        pytest.param(
            {**HYPER_THREADED, "proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "200000 100000"},
            range(8),
            2,
            2,
            id="quota v2",
        ),
        pytest.param(
            {**HYPER_THREADED, "proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "max 100000"},
            range(8),
            4,
            8,
            id="no quota v2",
        ),
        pytest.param(
            {**HYPER_THREADED, "proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "50000 100000"},
            range(8),
            1,
            1,
            id="half a CPU",
        ),
        pytest.param(
            {**HYPER_THREADED, "proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "140000 100000"},
            range(8),
            1,
            1,
            id="nearer to one",
        ),
        pytest.param(
            {**HYPER_THREADED, "proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "150000 100000"},
            range(8),
            2,
            2,
            id="half a CPU more",
        ),
        pytest.param(
            {**HYPER_THREADED, "proc/self/cgroup": "0::/a/b", "sys/fs/cgroup/a/cpu.max": "150000 50000"},
            range(8),
            3,
            3,
            id="quota of a parent v2",
        ),
        pytest.param(
            {
                **HYPER_THREADED,
                "proc/self/cgroup": "4:cpu,cpuacct:/docker/x\n0::/",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "200000",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000",
            },
            range(8),
            2,
            2,
            id="quota v1, seen from inside the container",
        ),
        pytest.param(
            {
                **HYPER_THREADED,
                "proc/self/cgroup": "1:cpu:/job",
                "sys/fs/cgroup/cpu/job/cpu.cfs_quota_us": "100000",
                "sys/fs/cgroup/cpu/job/cpu.cfs_period_us": "100000",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
            },
            range(8),
            1,
            1,
            id="quota v1 of a group",
        ),
        pytest.param(
            {**HYPER_THREADED, "proc/self/cgroup": "broken\n0::/", "sys/fs/cgroup/cpu.max": "what 0"},
            range(8),
            4,
            8,
            id="nonsense is no quota",
        ),
    ],
)
def test_threads_and_jobs(
    tmp_path: pathlib.Path, files: dict[str, str], affinity: typing.Sequence[int], threads: int, jobs: int
) -> None:
    observed = cpus.observe(host(tmp_path, files), affinity)
    assert (observed.threads, observed.jobs) == (threads, jobs)


def test_this_host_has_at_least_one() -> None:
    observed = cpus.observe()
    assert 1 <= observed.threads <= observed.jobs <= observed.logical


def test_a_host_without_cgroups_has_no_quota(tmp_path: pathlib.Path) -> None:
    assert cpus.quota(tmp_path) == math.inf


def clocked(vendor: str, *megahertz: int) -> dict[str, str]:
    """Return the files of a host whose kernel tells only the highest frequency of each core."""
    files = cores(*map(str, range(len(megahertz)))) | {"proc/cpuinfo": f"processor\t: 0\nvendor_id\t: {vendor}\n"}
    name = "sys/devices/system/cpu/cpu{}/cpufreq/cpuinfo_max_freq"
    return files | {name.format(cpu): str(each * 1000) for cpu, each in enumerate(megahertz)}


@pytest.mark.parametrize(
    ("vendor", "megahertz", "performance"),
    [
        pytest.param("GenuineIntel", [5100] * 6 + [5200] * 2 + [3900] * 8, 8, id="Core i9-12900K"),
        pytest.param("GenuineIntel", [4400] * 2 + [3300] * 8, 2, id="Core i5-1235U"),
        pytest.param("GenuineIntel", [4800] * 6 + [3800] * 8 + [2500] * 2, 6, id="Core Ultra 7 155H with LP-E-cores"),
        pytest.param("GenuineIntel", [5700] * 2 + [5500] * 6 + [4600] * 16, 8, id="Core Ultra 9 285K"),
        pytest.param("GenuineIntel", [4800] * 4 + [3700] * 4, 4, id="Core Ultra 7 258V"),
        pytest.param("GenuineIntel", [4600] * 2 + [4500] * 8, 0, id="Core i9-10900X with two favoured cores"),
        pytest.param("GenuineIntel", [3400] * 4, 0, id="N100 with efficiency cores only"),
        pytest.param("GenuineIntel", [5100, 0, 3900], 0, id="a core without a frequency"),
        pytest.param("AuthenticAMD", [5100] * 4 + [3300] * 8, 0, id="Ryzen AI 9 HX 370 with compact cores"),
    ],
)
def test_a_kernel_that_lists_no_performance_cores_tells_them_by_frequency(
    tmp_path: pathlib.Path, vendor: str, megahertz: list[int], performance: int
) -> None:
    observed = cpus.observe(host(tmp_path, clocked(vendor, *megahertz)), range(len(megahertz)))
    assert (observed.performance, observed.threads) == (performance, performance or len(megahertz))
