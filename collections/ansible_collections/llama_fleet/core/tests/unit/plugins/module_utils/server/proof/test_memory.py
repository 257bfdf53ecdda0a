# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import dataclasses
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.release.memory_plan import DeviceMemory, MemoryPlan
from ansible_collections.llama_fleet.core.plugins.module_utils.server.proof import memory as server_memory
from ansible_collections.llama_fleet.core.tests.unit.fakes.options import CPU, CUDA

if typing.TYPE_CHECKING:
    import pathlib

    from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.options import Options

SMALL = dataclasses.replace(CPU, ctx_size=4096, parallel=4, cache_ram=0)
GPU = dataclasses.replace(CUDA, ctx_size=4096, parallel=4, cache_ram=0, n_gpu_layers="all", mmproj="", lora=())


class Planner:
    """A memory program that needs ``rate`` MiB per 1024 tokens and counts its runs."""

    def __init__(self, model: int, rate: int, gpu: bool = False, least: int = 0) -> None:
        self.model, self.rate, self.gpu, self.least = model, rate, gpu, least
        self.runs: list[tuple[int, int]] = []

    def __call__(self, ctx_size: int, parallel: int) -> MemoryPlan:
        if (ctx_size, parallel) not in self.runs:
            self.runs.append((ctx_size, parallel))
        if ctx_size < self.least:
            raise ProblemError(Problem("release", "so small a context", "more"))
        device = DeviceMemory("CUDA0" if self.gpu else "Host", self.model, ctx_size * parallel * self.rate // 1024, 10)
        return MemoryPlan((device, *([DeviceMemory("Host", 100, 0, 10)] if self.gpu else [])))


def problem(options: Options, plan: Planner, free: dict[str, int]) -> str:
    return str(server_memory.assess(options, plan, free).problem)


def test_what_fits_is_told_by_device() -> None:
    found = server_memory.assess(SMALL, Planner(100, 64), {"Host": 1134})
    assert (found.problem, found.warnings, found.by_device) == (None, (), {"Host": 1134})
    assert found.described == [
        {"device": "Host", "model_mib": 100, "context_mib": 1024, "compute_mib": 10, "free_mib": 1134}
    ]


def test_what_does_not_fit_is_told_with_what_would() -> None:
    plan = Planner(100, 64)
    told = problem(SMALL, plan, {"Host": 700})
    assert (
        "expected a context that fits, found 4 slots of 4096 tokens, which need 1134 MiB of RAM (model 100, "
        "context 1024, computing 10) with 700 MiB free"
    ) in told
    assert (
        "Set llama_server_ctx_size to 2304, or llama_server_parallel to 2; llama_server_memory_check: false starts it "
        "anyway."
    ) in told
    assert len(plan.runs) <= 6, "each of them is a program that loads a model's header"


def test_where_only_fewer_slots_fit_only_they_are_offered() -> None:
    assert "Set llama_server_parallel to 1; llama_server_memory_check" in problem(
        dataclasses.replace(SMALL, ctx_size=256), Planner(100, 512), {"Host": 260}
    )


@pytest.mark.parametrize("plan", [Planner(100, 64), Planner(100, 64, least=4096)])
def test_a_model_that_is_too_large_by_itself_is_what_is_wrong(plan: Planner) -> None:
    told = problem(SMALL, plan, {"Host": 90})
    assert told.startswith("llama_server_model: expected one that fits, found a model that needs 1134 MiB of RAM")
    assert "Take a smaller model or quant, or make room" in told


@pytest.mark.parametrize("free", range(200, 1134, 61))
def test_the_largest_context_is_found_in_few_runs(free: int) -> None:
    plan = Planner(100, 64)
    found = server_memory.largest_context(lambda ctx_size, parallel: plan(ctx_size, parallel).total_mib - free, 4096, 4)
    fitting = [size for size in range(256, 4096, 256) if plan(size, 4).total_mib <= free]
    assert found == max(fitting)


def test_where_memory_grows_in_jumps_what_is_offered_still_fits() -> None:
    def excess(ctx_size: int, parallel: int) -> int:
        del parallel
        return -50 if ctx_size < 3000 else 4000

    assert 256 <= server_memory.largest_context(excess, 65536, 1) < 3000


def test_of_gpus_each_has_to_fit_where_all_layers_are_wanted() -> None:
    told = problem(GPU, Planner(4000, 64, gpu=True), {"CUDA0": 4500, "Host": 64000})
    assert "need 5034 MiB of CUDA0 (model 4000, context 1024, computing 10) with 4500 MiB free" in told
    assert "RAM" not in told


def test_what_the_server_moves_to_ram_by_itself_is_only_a_warning() -> None:
    free = {"CUDA0": 4500, "Host": 64000}
    automatic = dataclasses.replace(GPU, n_gpu_layers="auto", extra_options={})
    found = server_memory.assess(automatic, Planner(4000, 64, gpu=True), free)
    assert found.problem is None
    assert found.warnings[0].startswith(
        "only a part of the model will be on the GPU, which is slower, because it needs 5034 MiB of CUDA0"
    )
    assert problem(
        dataclasses.replace(automatic, extra_options={"fit": False}), Planner(4000, 64, gpu=True), free
    ).startswith("llama_server_ctx_size")
    assert problem(automatic, Planner(4000, 64, gpu=True), {"CUDA0": 4500, "Host": 600}).startswith(
        "llama_server_ctx_size"
    )


def test_a_device_with_unknown_memory_does_not_prevent_a_start() -> None:
    found = server_memory.assess(GPU, Planner(4000, 64, gpu=True), {"Host": 64000})
    assert (found.problem, [row["free_mib"] for row in found.described]) == (None, [None, 64000])


def test_files_beside_the_model_count_where_the_model_is(tmp_path: pathlib.Path) -> None:
    for name in ("mmproj.gguf", "lora.gguf", "draft.gguf"):
        with (tmp_path / name).open("wb") as file:
            file.truncate(300 << 20)
    mmproj, lora, draft = (str(tmp_path / name) for name in ("mmproj.gguf", "lora.gguf", "draft.gguf"))
    options = dataclasses.replace(GPU, mmproj=mmproj, lora=(f"{lora}:0.5",), extra_options={"model-draft": draft})
    found = server_memory.assess(options, Planner(4000, 64, gpu=True), {})
    assert found.by_device == {"CUDA0": 5934, "Host": 110}
    provided = dataclasses.replace(options, lora=(), adapters=(lora,), extra_options={}, draft=draft)
    assert server_memory.assess(provided, Planner(4000, 64, gpu=True), {}).by_device == {"CUDA0": 5934, "Host": 110}


GROWS = (
    "llama_server_cache_ram lets the prompt cache grow to 8192 MiB, and only 866 MiB of RAM are left beside the model: "
    "set it to 384 or less"
)


@pytest.mark.parametrize(
    ("cache_ram", "memory_max", "told"),
    [
        (8192, "2G", [f"{GROWS}; the kernel ends a server that goes beyond llama_server_memory_max"]),
        (8192, "", [GROWS]),
        (866, "", []),
        (0, "", []),
        (-1, "", []),
        (-1, "2G", ["llama_server_cache_ram is -1, so the prompt cache may take all RAM: set a limit"]),
    ],
)
def test_the_prompt_cache_is_a_warning(cache_ram: int, memory_max: str, told: list[str]) -> None:
    options = dataclasses.replace(SMALL, cache_ram=cache_ram, memory_max=memory_max)
    assert list(server_memory.assess(options, Planner(100, 64), {"Host": 2000}).warnings) == told


def test_a_need_that_was_written_down_is_enough_to_judge() -> None:
    assert server_memory.recorded({"CUDA0": 500, "Host": 100}, {"CUDA0": 500}).problem is None
    told = str(server_memory.recorded({"CUDA0": 500, "Host": 100}, {"CUDA0": 499, "Host": 99}).problem)
    assert told.startswith(
        "memory: expected memory for that generation, found 500 MiB of CUDA0 with 499 MiB free; "
        "100 MiB of Host with 99 MiB free."
    )
