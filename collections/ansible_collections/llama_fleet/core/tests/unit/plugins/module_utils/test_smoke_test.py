# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import pathlib
import signal
import struct

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.commands import Result
from ansible_collections.llama_fleet.core.plugins.module_utils.smoke_test import bench_command, has_gpu, parse_speeds, smoke_test
from ansible_collections.llama_fleet.core.plugins.module_utils.tiny_model import tensors, write_tiny_model
from ansible_collections.llama_fleet.core.tests.unit.fake_runner import FakeRunner

GOOD = '[{"n_prompt": 32, "n_gen": 0, "avg_ts": 812.347}, {"n_prompt": 0, "n_gen": 4, "avg_ts": 55}]'


@pytest.mark.parametrize(
    ("text", "speeds"),
    [
        (GOOD, {"prompt": 812.3, "generation": 55.0}),
        (GOOD.replace("55", "0"), {}),
        ('[{"n_prompt": 32, "n_gen": 0, "avg_ts": 1}]', {}),
        ("[]", {}),
        ("", {}),
        ("{}", {}),
        ('[{"n_prompt": 32}]', {}),
        ("[1]", {}),
    ],
)
def test_speeds(text: str, speeds: dict[str, float]) -> None:
    assert parse_speeds(text) == speeds


@pytest.mark.parametrize(
    ("results", "on_gpu", "report", "failure", "illegal"),
    [
        ([Result(0, GOOD, "")], False, ["cpu"], "", False),
        ([Result(0, GOOD, ""), Result(0, GOOD, "")], True, ["cpu", "cuda"], "", False),
        ([Result(-signal.SIGILL, "", "")], False, [], "signal SIGILL from llama-bench on the CPU", True),
        ([Result(132, "", "")], True, [], "exit code 132 from llama-bench on the CPU", True),
        ([Result(1, "", "a\nfailed to load model\n")], False, [], "exit code 1 ('failed to load model') from llama-bench on the CPU", False),
        ([Result(0, GOOD, ""), Result(1, "", "no CUDA0")], True, ["cpu"], "exit code 1 ('no CUDA0') from llama-bench on the GPU", False),
        ([Result(0, "", "")], False, [], "exit code 0 from llama-bench on the CPU", False),
    ],
)
def test_outcomes(results: list[Result], on_gpu: bool, report: list[str], failure: str, illegal: bool) -> None:
    outcome = smoke_test(pathlib.Path("/release/bin"), on_gpu, FakeRunner(*results))
    assert (list(outcome.report), outcome.failure, outcome.illegal_instruction) == (report, failure, illegal)


def test_a_gpu_is_named_so_that_the_cpu_cannot_step_in() -> None:
    command = bench_command(pathlib.Path("/r/bin"), pathlib.Path("/m.gguf"), "cuda")
    assert command[-4:] == ["-ngl", "99", "-dev", "CUDA0"]
    assert "-dev" not in bench_command(pathlib.Path("/r/bin"), pathlib.Path("/m.gguf"), "cpu")


@pytest.mark.parametrize(("files", "found"), [([], False), (["nvidiactl"], True), (["dxg"], True), (["dri"], False)])
def test_gpus_are_seen_by_their_device_files(tmp_path: pathlib.Path, files: list[str], found: bool) -> None:
    for name in files:
        (tmp_path / name).touch()
    assert has_gpu(tmp_path) is found


def test_the_tiny_model_is_small_and_always_the_same(tmp_path: pathlib.Path) -> None:
    first, second, other = (tmp_path / name for name in ("first", "second", "other"))
    write_tiny_model(first)
    write_tiny_model(second)
    write_tiny_model(other, seed=2)
    data = first.read_bytes()
    assert data == second.read_bytes() != other.read_bytes()
    assert len(data) == len(other.read_bytes()) < 1_000_000
    magic, version, count, _settings = struct.unpack_from("<4sIQQ", data)
    assert (magic, version, count) == (b"GGUF", 3, len(tensors()))
    assert {quant.number for quant, _shape in tensors().values()} == {0, 2, 8, 12, 14}
