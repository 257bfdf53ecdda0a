# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import pathlib
import signal
import struct

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.tiny_model import tensors, write_tiny_model
from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import Result
from ansible_collections.llama_fleet.core.plugins.module_utils.release.smoke_test import (
    bench_command,
    has_gpu,
    parse_devices,
    parse_speeds,
    smoke_test,
    smoke_test_as_it_is,
)
from ansible_collections.llama_fleet.core.tests.unit.fakes.runner import FakeRunner

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


LISTED = """Available devices:
  CUDA0: NVIDIA H200 (143771 MiB, 143000 MiB free)
  CUDA1: NVIDIA H200 (143771 MiB, 9 MiB free)
  BLAS: OpenBLAS (0 MiB, 0 MiB free)
"""
NONE = Result(0, "Available devices:\n  (none)\n", "CUDA driver version is insufficient for CUDA runtime version\n")
OK = Result(0, GOOD, "")
GPUS = Result(0, LISTED, "")


@pytest.mark.parametrize(
    ("text", "devices"), [(LISTED, ["CUDA0", "CUDA1"]), (NONE.stdout, []), ("", []), ("CUDA0: x (1 MiB)", [])]
)
def test_devices(text: str, devices: list[str]) -> None:
    assert parse_devices(text) == devices


@pytest.mark.parametrize(
    ("results", "on_gpu", "report", "failure", "illegal"),
    [
        ([OK], False, ["cpu"], "", False),
        ([GPUS, OK, OK, OK], True, ["cpu", "CUDA0", "CUDA1"], "", False),
        ([Result(-signal.SIGILL, "", "")], False, [], "signal SIGILL from llama-bench on the CPU", True),
        ([GPUS, Result(132, "", "")], True, [], "exit code 132 from llama-bench on the CPU", True),
        (
            [Result(1, "", "a\nfailed to load model\n")],
            False,
            [],
            "exit code 1 ('failed to load model') from llama-bench on the CPU",
            False,
        ),
        (
            [GPUS, OK, OK, Result(1, "", "no CUDA1")],
            True,
            ["cpu", "CUDA0"],
            "exit code 1 ('no CUDA1') from llama-bench on the GPU CUDA1",
            False,
        ),
        ([Result(0, "", "")], False, [], "exit code 0 from llama-bench on the CPU", False),
        (
            [NONE, OK, OK],
            True,
            [],
            (
                "exit code 0 ('CUDA driver version is insufficient for CUDA runtime version') from llama-bench for "
                "--list-devices, which names no GPU of this host"
            ),
            False,
        ),
    ],
)
def test_outcomes(results: list[Result], on_gpu: bool, report: list[str], failure: str, illegal: bool) -> None:
    outcome = smoke_test(pathlib.Path("/release/bin"), on_gpu, FakeRunner(*results))
    assert (list(outcome.report), outcome.failure, outcome.illegal_instruction, outcome.fix) == (
        report,
        failure,
        illegal,
        "",
    )


def test_each_gpu_decodes_by_itself_and_none_helps_the_cpu() -> None:
    run = FakeRunner(GPUS, OK, OK, OK)
    smoke_test(pathlib.Path("/r/bin"), True, run)
    assert run.commands[0] == ["/r/bin/llama-bench", "--list-devices"]
    assert [command[-4:] for command in run.commands[1:]] == [
        ["-ngl", "0", "-dev", "none"],
        ["-ngl", "99", "-dev", "CUDA0"],
        ["-ngl", "99", "-dev", "CUDA1"],
    ]
    assert len({str(settings["cwd"]) for settings in run.settings}) == 1


def test_a_release_for_the_cpu_is_asked_nothing_of_devices() -> None:
    assert "-dev" not in bench_command(pathlib.Path("/r/bin"), pathlib.Path("/m.gguf"), "cpu")


def test_a_missing_library_has_a_plain_cure() -> None:
    said = (
        "/r/bin/llama-bench: error while loading shared libraries: libgomp.so.1: cannot open shared object file: "
        "No such file or directory"
    )
    assert (
        smoke_test(pathlib.Path("/r/bin"), False, FakeRunner(Result(127, "", said))).fix
        == "install the package that provides libgomp.so.1"
    )


class Variants(FakeRunner):
    """A fake release whose llama-bench loads the first existing variant in ``order``.

    The variants in ``broken`` raise an illegal instruction.
    """

    def __init__(self, programs: pathlib.Path, broken: tuple[str, ...]) -> None:
        super().__init__()
        self.programs = programs
        self.broken = broken

    def answer(self, command: list[str]) -> Result:
        names = [f"libggml-cpu-{name}.so" for name in ("sapphirerapids", "zen4", "x64")]
        loaded = next((name for name in names if (self.programs / name).exists()), "libggml-cpu.so")
        said = f"load_backend: loaded CPU backend from {self.programs}/{loaded}\nmore\n" if "-v" in command else ""
        return Result(-signal.SIGILL, "", said) if loaded in self.broken else Result(0, GOOD, said)


@pytest.mark.parametrize(
    ("there", "broken", "removed", "works"),
    [
        (["sapphirerapids", "zen4"], ["sapphirerapids"], ["sapphirerapids"], True),
        (["sapphirerapids", "zen4", "x64"], ["sapphirerapids", "zen4"], ["sapphirerapids", "zen4"], True),
        (["zen4"], [], [], True),
        ([], [""], [], False),
    ],
)
def test_a_variant_that_dies_makes_room_for_the_next(
    tmp_path: pathlib.Path, there: list[str], broken: list[str], removed: list[str], works: bool
) -> None:
    def library(name: str) -> str:
        return f"libggml-cpu-{name}.so" if name else "libggml-cpu.so"

    for name in ["", *there]:
        (tmp_path / library(name)).touch()
    outcome, gone = smoke_test_as_it_is(tmp_path, False, Variants(tmp_path, tuple(map(library, broken))))
    assert (gone, not outcome.failure) == ([library(name) for name in removed], works)
    assert {path.name for path in tmp_path.iterdir()} == {library(name) for name in ["", *there]} - set(gone)


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
