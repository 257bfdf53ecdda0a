# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Compare the default number of threads with llama-server's own, on the CPU topologies in topologies.json.

``PYTHONPATH=collections python benchmarks/default_threads.py`` prints a table and ends with 1 if the default of
llama_server_threads is further from the best number than llama-server's own. It needs none of these machines: each
topology is laid out as the kernel shows it below /sys, and llama-server's rule (``common_cpu_get_num_math`` of b11434)
is computed from it.
"""

from __future__ import annotations

import json
import pathlib
import sys
import tempfile
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.host import cpus

TOPOLOGIES = pathlib.Path(__file__).with_name("topologies.json")
Topology = dict[str, typing.Any]


def numbers(text: str) -> list[int]:
    """Return the CPUs of a kernel's list such as ``0-3,8``."""
    ends = [part.partition("-") for part in text.split(",") if part]
    return [cpu for first, _dash, last in ends for cpu in range(int(first), int(last or first) + 1)]


def all_cpus(topology: Topology) -> list[int]:
    """Return the CPUs of the machine."""
    return sorted(cpu for core in topology.get("cores", "").split() for cpu in numbers(core)) or list(
        range(topology["count"])
    )


def lay_out(root: pathlib.Path, topology: Topology) -> None:
    """Write the topology below ``root`` as the kernel shows it."""
    files = {}
    for core in topology.get("cores", "").split():
        for cpu in numbers(core):
            files[f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list"] = core
    for cpu, capacity in enumerate(topology.get("capacity", "").split()):
        files[f"sys/devices/system/cpu/cpu{cpu}/cpu_capacity"] = capacity
    if "performance" in topology:
        files["sys/devices/cpu_core/cpus"] = topology["performance"]
    if "quota" in topology:
        files |= {"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": topology["quota"]}
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n", encoding="ascii")


def ours(topology: Topology) -> int:
    """Return the threads that ``llama_server_threads: 0`` stands for."""
    with tempfile.TemporaryDirectory() as folder:
        lay_out(pathlib.Path(folder), topology)
        affinity = numbers(topology["affinity"]) if "affinity" in topology else all_cpus(topology)
        return cpus.observe(pathlib.Path(folder), affinity).threads


def theirs(topology: Topology) -> int:
    """Return the threads that llama-server chooses; it reads neither quota nor, for cores, affinity.

    On Intel's hybrid CPUs it steps over the CPU after each performance core, which it takes for a hyper-thread.
    """
    count = len(all_cpus(topology))
    if "performance" in topology:
        performance, threads, cpu = numbers(topology["performance"]), 0, 0
        while cpu < count:
            threads, cpu = (threads + 1, cpu + 2) if cpu in performance else (threads, cpu + 1)
        return threads
    cores = len(topology.get("cores", "").split())
    return cores or (count if count <= 4 else count // 2)


def worse(topology: Topology) -> bool:
    """Return whether our default is further from the best number than llama-server's."""
    best: int = topology["best"]
    return abs(ours(topology) - best) > abs(theirs(topology) - best)


def main() -> int:
    """Print the table; return 1 if a default is worse."""
    topologies = json.loads(TOPOLOGIES.read_text(encoding="utf-8"))
    print("| topology | llama-fleet | llama-server | best |\n|---|---|---|---|")
    for each in topologies:
        print(f"| {each['name']} | {ours(each)} | {theirs(each)} | {each['best']} |")
    return int(any(worse(each) for each in topologies))


if __name__ == "__main__":
    sys.exit(main())
