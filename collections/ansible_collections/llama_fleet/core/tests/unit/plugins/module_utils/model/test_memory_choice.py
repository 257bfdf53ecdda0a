# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test the available memory of GPUs and of the host."""

from __future__ import annotations

import pathlib
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import Result
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.release import free_memory
from ansible_collections.llama_fleet.core.plugins.module_utils.release.free_memory import Available
from ansible_collections.llama_fleet.core.tests.unit.fakes.runner import FakeRunner

FIXTURES = pathlib.Path(__file__).parents[1] / "fixtures/nvidia"
MIB = 1 << 20
NO_GPU = "Available devices:\n  (none)\n"
ONE_GPU = "Available devices:\n  CUDA0: NVIDIA H100 80GB HBM3 (81559 MiB, 81000 MiB free)\n"


def problem(act: typing.Callable[[], object]) -> str:
    with pytest.raises(ProblemError) as caught:
        act()
    return str(caught.value)


class Smi(FakeRunner):
    """An nvidia-smi of a host with GPUs, and a release that lists its devices."""

    def __init__(self, log: str, table: str, devices: str = ONE_GPU) -> None:
        super().__init__()
        self.texts = {"-q": log, "--query-gpu=uuid,compute_cap": table, "--list-devices": devices}

    def answer(self, command: list[str]) -> Result:
        return Result(0, self.texts.get(command[1], ""), "")


def host(root: pathlib.Path, **files: str) -> pathlib.Path:
    """Create a host with 4000 MiB of available RAM and an nvidia-smi; in names of ``files`` ``__`` is a slash."""
    for name, content in {
        "proc__meminfo": "MemTotal: 9 kB\nMemAvailable: 4096000 kB\n",
        "usr__bin__nvidia-smi": "",
        **files,
    }.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="ascii")
        path.chmod(0o755)
    return root


def h100(devices: str = ONE_GPU) -> Smi:
    return Smi(
        (FIXTURES / "h100_driver_580.xml").read_text(encoding="utf-8"),
        "GPU-5f3a9c1e-0b7d-4a52-9d0e-2c61f8b7e410, 9.0\n",
        devices,
    )


def test_memory_of_gpus_before_that_of_the_host(tmp_path: pathlib.Path) -> None:
    assert free_memory.memory_available(h100(), None, host(tmp_path)) == Available(81079, "free on the GPU")
    assert free_memory.memory_available(h100(), tmp_path, host(tmp_path)) == Available(81079, "free on the GPU")
    table = "GPU-8c2d7f5e-6a1b-4e3c-9f80-7b6a5d4c3e22, 7.5\nGPU-1b9e4b6a-7f0d-3c8a-b6a5-0d9f5b7c2e11, 8.9\n"
    two = free_memory.memory_available(
        Smi((FIXTURES / "ada_and_turing_driver_535.xml").read_text(encoding="utf-8"), table), None, host(tmp_path)
    )
    assert (two.what, two.devices, two.margin_mib) == ("free on 2 GPUs", 2, 2048)
    assert two.mib > 16384


def test_memory_of_the_host_where_no_gpu_is_used(tmp_path: pathlib.Path) -> None:
    ram = Available(4000, "free RAM")
    assert free_memory.memory_available(h100(NO_GPU), tmp_path, host(tmp_path)) == ram, (
        "a release that was built for the CPU"
    )
    shared = Smi(
        (FIXTURES / "gb10_driver_610.xml").read_text(encoding="utf-8"),
        "GPU-0f4f1b7d-2a6c-5e8b-8d3e-6c5b4a3f2e33, 12.1\n",
    )
    unified = Available(4000, "free of the host's memory, which the GPU shares")
    assert free_memory.memory_available(shared, None, host(tmp_path)) == unified
    (tmp_path / "usr/bin/nvidia-smi").unlink()
    assert free_memory.memory_available(FakeRunner(), None, tmp_path) == ram


@pytest.mark.parametrize(
    ("files", "mib"),
    [
        (
            {
                "proc__self__cgroup": "0::/a\n",
                "sys__fs__cgroup__a__memory.max": f"{900 * MIB}",
                "sys__fs__cgroup__a__memory.current": f"{100 * MIB}",
            },
            800,
        ),
        (
            {
                "proc__self__cgroup": "9:cpu,memory:/docker/a\n1:name=systemd:/x\n",
                "sys__fs__cgroup__memory__docker__memory.limit_in_bytes": f"{700 * MIB}",
                "sys__fs__cgroup__memory__docker__memory.usage_in_bytes": f"{300 * MIB}",
                "sys__fs__cgroup__memory__docker__memory.stat": f"inactive_file 1\ntotal_inactive_file {50 * MIB}\n",
                "sys__fs__cgroup__memory__docker__a__memory.limit_in_bytes": "9223372036854771712",
                "sys__fs__cgroup__memory__docker__a__memory.usage_in_bytes": "5",
            },
            450,
        ),
        (  # a container sees its own group as the mount itself
            {
                "proc__self__cgroup": "9:memory:/docker/a\n",
                "sys__fs__cgroup__memory__memory.limit_in_bytes": f"{600 * MIB}",
                "sys__fs__cgroup__memory__memory.usage_in_bytes": f"{100 * MIB}",
            },
            500,
        ),
        (
            {
                "proc__self__cgroup": "9:memory:/\n",
                "sys__fs__cgroup__memory__memory.limit_in_bytes": "9223372036854771712",
            },
            4000,
        ),
    ],
)
def test_memory_of_the_host_is_within_its_cgroups(tmp_path: pathlib.Path, files: dict[str, str], mib: int) -> None:
    assert (
        free_memory.memory_available(FakeRunner(), None, host(tmp_path, **files, **{"usr__bin__nvidia-smi": "x"})).mib
        == mib
    )


def test_memory_that_is_not_known_is_told(tmp_path: pathlib.Path) -> None:
    assert "memory: expected the host's free memory, found no MemAvailable in /proc/meminfo" in problem(
        lambda: free_memory.memory_available(FakeRunner(), None, tmp_path)
    )
