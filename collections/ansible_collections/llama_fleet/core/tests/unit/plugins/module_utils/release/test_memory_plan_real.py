# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test memory plans with a real release and a real model."""

from __future__ import annotations

import os
import pathlib

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.header import file_header
from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.shards import parse_shard
from ansible_collections.llama_fleet.core.plugins.module_utils.host import commands
from ansible_collections.llama_fleet.core.plugins.module_utils.release.memory_plan import parse_plan, plan_memory
from ansible_collections.llama_fleet.core.tests.unit.fakes.release import problem

RELEASE = os.environ.get("LLAMA_FLEET_TEST_RELEASE", "")
MIB = 1 << 20
MODEL = os.environ.get("LLAMA_FLEET_TEST_MODEL", "")
real = pytest.mark.skipif(
    not (RELEASE and MODEL),
    reason=(
        "needs LLAMA_FLEET_TEST_RELEASE, a folder with bin/llama-fit-params, and LLAMA_FLEET_TEST_MODEL, a GGUF file"
    ),
)


def shards_of(model: pathlib.Path) -> list[pathlib.Path]:
    shard = parse_shard(model.name)
    return [model.with_name(name) for name in shard.names] if shard else [model]


def split(model: pathlib.Path, folder: pathlib.Path) -> pathlib.Path:
    """Split the model into three or more shards; a model that is split already stays as it is."""
    if len(shards_of(model)) > 1:
        return model
    done = commands.run(
        [f"{RELEASE}/bin/llama-gguf-split", "--split", "--split-max-tensors", "100", str(model), str(folder / "part")],
        timeout=120,
    )
    assert done.ok, done.stderr
    return min(folder.glob("part-*.gguf"))


@real
@pytest.mark.parametrize("shards", ["whole", "split"])
@pytest.mark.parametrize(("ctx_size", "parallel"), [(4096, 1), (1024, 4), (8192, 3)])
def test_sparse_files_and_the_real_model_take_the_same(
    tmp_path: pathlib.Path, shards: str, ctx_size: int, parallel: int
) -> None:
    model = pathlib.Path(MODEL) if shards == "whole" else split(pathlib.Path(MODEL), tmp_path)
    files = shards_of(model)
    work = tmp_path / "work"
    work.mkdir()
    plan = plan_memory(
        commands.run,
        pathlib.Path(RELEASE),
        [(file_header(path).content, path.stat().st_size) for path in files],
        ctx_size,
        parallel,
        work,
    )
    command = [
        f"{RELEASE}/bin/llama-fit-params",
        "-m",
        str(model),
        "-c",
        str(ctx_size * parallel),
        "-np",
        str(parallel),
        "--fit-print",
        "on",
    ]
    assert plan.devices == parse_plan(commands.run(command, timeout=120).stdout)
    assert plan.devices[-1].name == "Host"
    # SmolLM2-135M: 30 layers, 3 heads of 64 for keys and values each, two bytes per value.
    assert sum(device.context_mib for device in plan.devices) == ctx_size * parallel * 30 * 2 * 3 * 64 * 2 // MIB
    assert list(work.iterdir()) == []


@real
def test_the_slots_of_the_default_model_take_what_the_documentation_says(tmp_path: pathlib.Path) -> None:
    files = [(file_header(path).content, path.stat().st_size) for path in shards_of(pathlib.Path(MODEL))]
    plans = [plan_memory(commands.run, pathlib.Path(RELEASE), files, 4096, slots, tmp_path) for slots in (1, 4, 16)]
    assert [plan.devices[-1].context_mib for plan in plans] == [90, 360, 1440]  # docs/memory.md


@real
def test_the_real_program_says_what_is_wrong(tmp_path: pathlib.Path) -> None:
    files = [(file_header(path).content, path.stat().st_size) for path in shards_of(pathlib.Path(MODEL))]
    strange = [(files[0][0].replace(b"\5\0\0\0\0\0\0\0llama", b"\5\0\0\0\0\0\0\0lamma"), files[0][1]), *files[1:]]
    release = pathlib.Path(RELEASE)
    assert "unknown model architecture: 'lamma'" in problem(
        lambda: plan_memory(commands.run, release, strange, 1, 1, tmp_path)
    )
    assert "n_seq_max must be <= 256" in problem(lambda: plan_memory(commands.run, release, files, 1, 300, tmp_path))
    assert 'error while handling argument "-c"' in problem(
        lambda: plan_memory(commands.run, release, files, 1 << 40, 1, tmp_path)
    )
    assert list(tmp_path.iterdir()) == []
