# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""What memory there is, and which model fits into it."""

from __future__ import annotations

import pathlib
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.quant import Candidate, ListedFile
from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import Result
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.release import memory_plan
from ansible_collections.llama_fleet.core.plugins.module_utils.release.memory_plan import (
    Available,
    MemoryPlan,
    choose_fitting,
    parse_plan,
)
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
    """nvidia-smi as it answers on a host with GPUs, and the devices that a release sees."""

    def __init__(self, log: str, table: str, devices: str = ONE_GPU) -> None:
        super().__init__()
        self.texts = {"-q": log, "--query-gpu=uuid,compute_cap": table, "--list-devices": devices}

    def answer(self, command: list[str]) -> Result:
        return Result(0, self.texts.get(command[1], ""), "")


def host(root: pathlib.Path, **files: str) -> pathlib.Path:
    """A host with 4000 MiB of RAM available and an nvidia-smi; ``files`` have ``__`` for slashes."""
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
    assert memory_plan.memory_available(h100(), None, host(tmp_path)) == Available(81079, "free on the GPU")
    assert memory_plan.memory_available(h100(), tmp_path, host(tmp_path)) == Available(81079, "free on the GPU")
    table = "GPU-8c2d7f5e-6a1b-4e3c-9f80-7b6a5d4c3e22, 7.5\nGPU-1b9e4b6a-7f0d-3c8a-b6a5-0d9f5b7c2e11, 8.9\n"
    two = memory_plan.memory_available(
        Smi((FIXTURES / "ada_and_turing_driver_535.xml").read_text(encoding="utf-8"), table), None, host(tmp_path)
    )
    assert (two.what, two.devices, two.margin_mib) == ("free on 2 GPUs", 2, 2048)
    assert two.mib > 16384


def test_memory_of_the_host_where_no_gpu_is_used(tmp_path: pathlib.Path) -> None:
    ram = Available(4000, "free RAM")
    assert memory_plan.memory_available(h100(NO_GPU), tmp_path, host(tmp_path)) == ram, (
        "a release that was built for the CPU"
    )
    shared = Smi(
        (FIXTURES / "gb10_driver_610.xml").read_text(encoding="utf-8"),
        "GPU-0f4f1b7d-2a6c-5e8b-8d3e-6c5b4a3f2e33, 12.1\n",
    )
    assert memory_plan.memory_available(shared, None, host(tmp_path)) == ram, (
        "a GPU that shares the host's memory and tells none"
    )
    (tmp_path / "usr/bin/nvidia-smi").unlink()
    assert memory_plan.memory_available(FakeRunner(), None, tmp_path) == ram


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
        memory_plan.memory_available(FakeRunner(), None, host(tmp_path, **files, **{"usr__bin__nvidia-smi": "x"})).mib
        == mib
    )


def test_memory_that_is_not_known_is_told(tmp_path: pathlib.Path) -> None:
    assert "memory: expected the host's free memory, found no MemAvailable in /proc/meminfo" in problem(
        lambda: memory_plan.memory_available(FakeRunner(), None, tmp_path)
    )


def candidate(quant: str, size_mib: int, folder: str = "", **changes: typing.Any) -> Candidate:
    return Candidate(quant, (ListedFile(f"{folder}M-{quant}.gguf", size_mib * MIB),), **changes)


class Planner:
    """Plans that take 200 MiB beside the files; keeps what was asked."""

    def __init__(self, text: str = "Host {} 150 50 \n") -> None:
        self.text = text
        self.asked: list[str] = []

    def __call__(self, candidate: Candidate) -> MemoryPlan:
        self.asked.append(candidate.path)
        return MemoryPlan(parse_plan(self.text.format(candidate.size // MIB)))


QUANTS = [candidate("Q4_K_M", 4000), candidate("F16", 16000), candidate("Q8_0", 8000), candidate("Q2_K", 2000)]


def test_the_largest_that_fits_is_chosen_and_no_more_is_planned_than_needed() -> None:
    planner = Planner()
    fitting = choose_fitting(QUANTS, 9200, planner, "o/r")
    assert (fitting.candidate, fitting.plan.total_mib) == (QUANTS[0], 4200)
    assert [(each.label, each.size, each.mib, each.fits) for each in fitting.considered] == [
        ("F16", 16000 * MIB, None, False),
        ("Q8_0", 8000 * MIB, 8200, False),
        ("Q4_K_M", 4000 * MIB, 4200, True),
    ]
    assert planner.asked == ["M-Q8_0.gguf", "M-Q4_K_M.gguf"]
    assert choose_fitting(QUANTS, 9224, Planner(), "o/r").candidate.quant == "Q8_0", "to the last MiB of the margin"
    assert choose_fitting(QUANTS, 9223, Planner(), "o/r").candidate.quant == "Q4_K_M"
    assert choose_fitting(QUANTS, 9223, Planner(), "o/r", margin_mib=0).candidate.quant == "Q8_0"


def test_on_gpus_their_part_decides() -> None:
    planner = Planner("CUDA0 3000 150 50 \nHost {} 0 9 \n")
    fitting = choose_fitting(QUANTS, 3200 + 1024, planner, "o/r")
    assert (fitting.candidate.quant, fitting.considered[-1].mib) == ("Q4_K_M", 3200)


def test_incomplete_models_and_drafts_are_no_candidates() -> None:
    odd = [
        candidate("Q8_0", 3000, missing=("x",)),
        candidate("F16", 2900, draft=True),
        candidate("Q4_K_M", 2000, "A/"),
        candidate("Q4_K_M", 2000),
    ]
    planner = Planner()
    assert choose_fitting(odd, 90_000, planner, "o/r").candidate.path == "M-Q4_K_M.gguf"
    assert planner.asked == ["M-Q4_K_M.gguf"]


def test_where_none_fits_every_candidate_is_told() -> None:
    message = problem(lambda: choose_fitting(QUANTS, 3100, Planner(), "o/r"))
    assert message == (
        "gguf_model_quant: expected one that fits, found no model in o/r that fits into 3100 MiB of "
        "which 1024 are to stay free (F16: files of 16000 MiB; Q8_0: files of 8000 MiB; Q4_K_M: files "
        "of 4000 MiB; Q2_K: 2200 MiB). Fix: Take a smaller model, a shorter context or fewer slots, or "
        "name a quant to have it whether it fits or not."
    )
    assert "(none at all)" in problem(lambda: choose_fitting([], 3100, Planner(), "o/r"))
