# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module with a real llama-server, and models that are damaged or too large for the memory."""

from __future__ import annotations

import os
import pathlib
import random
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.gguf import tiny_model
from ansible_collections.llama_fleet.core.plugins.module_utils.server.proof import checks as server_checks
from ansible_collections.llama_fleet.core.tests.unit.fakes.real_release import MODEL, real, with_real_release

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.tests.unit.module_runs import Instance


@pytest.fixture
def instance(instance: Instance) -> Instance:
    return with_real_release(instance)


def copied(folder: pathlib.Path, change: typing.Callable[[bytearray], bytes]) -> str:
    """Copy the model with a change to each of its files, and return the path of the first."""
    first = pathlib.Path(MODEL)
    folder.mkdir()
    for shard in server_checks.shards(first):
        (folder / shard.name).write_bytes(change(bytearray(shard.read_bytes())))
    return str(folder / first.name)


def scramble(data: bytearray) -> bytes:
    """Random bytes in the middle, where the weights are."""
    middle = slice(len(data) // 3, len(data) * 2 // 3)
    data[middle] = random.Random(1).randbytes(middle.stop - middle.start)
    return bytes(data)


@real
def test_a_model_that_is_cut_short_is_refused_while_the_old_one_serves(
    instance: Instance, tmp_path: pathlib.Path
) -> None:
    pid = instance.good()["pid"]
    message = instance.bad(model=copied(tmp_path / "cut", lambda data: bytes(data[: len(data) - 4096])))
    assert message.startswith("llama_server_model: expected a whole GGUF file, found ")
    assert (instance.servers(), instance.answers()) == ([pid], 200)


@real
def test_a_model_that_answers_nonsense_is_not_good_and_the_old_one_is_back(
    instance: Instance, tmp_path: pathlib.Path
) -> None:
    instance.good()
    message = instance.bad(model=copied(tmp_path / "scrambled", scramble))
    assert "generation 2 not good: it generates " in message
    assert "its model's files are damaged, or this release computes wrongly on this device" in message
    assert "generation 1 is back in service. Fix: Read the last lines of its log" in message
    assert os.readlink(instance.folder / "current") == "generations/1"
    assert instance.answers() == 200
    after = instance.good()
    assert (after["changed"], after["generation"]) == (False, 1)


@real
def test_a_model_of_zeros_is_not_good_and_one_that_learnt_nothing_is(
    instance: Instance, tmp_path: pathlib.Path
) -> None:
    message = instance.bad(
        model=copied(tmp_path / "zeros", lambda data: bytes(data[: len(data) // 2]) + bytes(len(data) - len(data) // 2))
    )
    assert "and all its tokens are equally likely: its model's files are damaged" in message
    message = instance.bad(model=copied(tmp_path / "scrambled", scramble))
    assert "and its probabilities are not numbers: its model's files are damaged" in message
    for seed in (1, 2):
        tiny_model.write_tiny_model(tmp_path / "tiny.gguf", seed)
        assert instance.good(model=str(tmp_path / "tiny.gguf"))["ready"]


@real
def test_memory_is_planned_by_the_release_and_what_would_fit_does(instance: Instance) -> None:
    pid = instance.good()["pid"]
    (row,) = instance.good(ctx_size=8192, parallel=4, plan_only=True)["memory"]
    free, slots = row["free_mib"], 4 * (row["free_mib"] // max(1, row["context_mib"]) + 1)
    message = instance.bad(ctx_size=8192, parallel=slots)
    assert (
        f"llama_server_ctx_size: expected a context that fits, found {slots} slots of 8192 tokens, which need "
        in message
    )
    assert instance.servers() == [pid]
    # Somewhat less, for in the meantime others may have taken memory.
    fits = int(message.partition("Set llama_server_ctx_size to ")[2].split(",")[0]) - 512
    planned = instance.good(ctx_size=fits, parallel=slots, plan_only=True)["memory"][0]
    assert (
        free * 3 // 4 < sum(planned[f"{part}_mib"] for part in ("model", "context", "compute")) <= planned["free_mib"]
    )


@real
def test_without_a_generation_to_go_back_to_it_is_stopped(instance: Instance, tmp_path: pathlib.Path) -> None:
    message = instance.bad(model=copied(tmp_path / "scrambled", scramble))
    assert "it was stopped, for there is no generation to go back to" in message
    assert instance.servers() == []
    assert instance.good()["generation"] == 2
