# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test memory plans with a scripted program: its arguments, its output, and its failures."""

from __future__ import annotations

import os
import pathlib
import re

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.host import commands
from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import Result
from ansible_collections.llama_fleet.core.plugins.module_utils.release.memory_plan import (
    DeviceMemory,
    MemoryPlan,
    parse_plan,
    plan_memory,
)
from ansible_collections.llama_fleet.core.tests.unit.fakes.release import problem
from ansible_collections.llama_fleet.core.tests.unit.fakes.runner import FakeRunner

MIB = 1 << 20
# Output of llama-fit-params, with its trailing space; its printf is the same for every device.
CPU = "Host 92 90 106 \n"
GPUS = "CUDA0 2201 256 560 \nRPC[10.0.0.2:50052] 2202 256 300 \nHost 281 0 24 \n"


@pytest.fixture
def release(tmp_path: pathlib.Path) -> pathlib.Path:
    program = tmp_path / "release" / "bin" / "llama-fit-params"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n", encoding="ascii")
    program.chmod(0o755)
    return tmp_path / "release"


class Program(FakeRunner):
    """A fake llama-fit-params that reads its files before it answers."""

    def answer(self, command: list[str]) -> Result:
        folder = pathlib.Path(command[command.index("-m") + 1]).parent
        self.files = {path.name: (path.read_bytes()[:4], path.stat().st_size) for path in folder.iterdir()}
        return Result(
            0,
            CPU,
            (
                "0.00.008.647 I llama_fit_params: printing estimated memory in MiB to stdout (device, model, context, "
                "compute) ...\n"
            ),
        )


def test_what_the_program_writes() -> None:
    assert parse_plan(CPU) == (DeviceMemory("Host", 92, 90, 106),)
    plan = MemoryPlan(parse_plan(GPUS))
    assert [device.name for device in plan.devices] == ["CUDA0", "RPC[10.0.0.2:50052]", "Host"]
    assert (plan.devices[0].total_mib, plan.total_mib, plan.decisive_mib) == (3017, 6080, 5775)
    assert MemoryPlan(parse_plan(CPU)).decisive_mib == MemoryPlan(parse_plan(CPU)).total_mib == 288


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "''"),
        ("-c 4096 -ngl -1\n", "'-c 4096 -ngl -1'"),
        ("CUDA0 1 2 3 \n", "'CUDA0 1 2 3 \\n'"),
        ("Host 1 2 3 \nCUDA0 1 2 3 \n", "'Host 1 2 3 \\nCUDA0 1 2 3 \\n'"),
        ("Host 1 2 \n", "'Host 1 2 '"),
        ("Host 1 2 -3 \n", "'Host 1 2 -3 '"),
        ("Host 1 2 3 4\n", "'Host 1 2 3 4'"),
        ("a warning\nHost 1 2 3 \n", "'a warning'"),
    ],
)
def test_what_cannot_be_understood_is_shown(text: str, found: str) -> None:
    assert (
        "gguf_model_release: expected a line with three numbers for each device, the last for Host, "
        f"found llama-fit-params that writes {found}."
    ) in problem(lambda: parse_plan(text))


def test_the_program_sees_sparse_files_and_all_slots_together(
    release: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("LLAMA_ARG_")]:
        monkeypatch.delenv(name)
    run = Program()
    work = tmp_path / "work"
    work.mkdir()
    plan = plan_memory(run, release, [(b"GGUF1", 300 * MIB)], 4096, 4, work)
    assert plan.devices == (DeviceMemory("Host", 92, 90, 106),)
    assert run.files == {"model.gguf": (b"GGUF", 300 * MIB)}
    (command,) = run.commands
    assert (command[0], command[3:]) == (
        f"{release}/bin/llama-fit-params",
        ["-c", "16384", "-np", "4", "--fit-print", "on"],
    )
    assert run.settings[0]["timeout"] == 180
    assert run.settings[0]["cwd"] == str(pathlib.Path(command[2]).parent), (
        "a folder of ours, because backends are loaded from it"
    )
    assert run.environments[0]["XDG_CONFIG_HOME"] == run.settings[0]["cwd"], (
        "a stray configuration file would change the figures"
    )

    plan_memory(run, release, [(b"GGUF1", 9 * MIB), (b"GGUF2", 7 * MIB)], 1, 1, work)
    assert run.files == {
        "model-00001-of-00002.gguf": (b"GGUF", 9 * MIB),
        "model-00002-of-00002.gguf": (b"GGUF", 7 * MIB),
    }
    assert run.commands[1][2].endswith("/model-00001-of-00002.gguf")
    assert list(work.iterdir()) == []


def test_settings_of_the_caller_do_not_reach_the_program(
    release: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (release / "bin/llama-fit-params").write_text(
        '#!/bin/sh\necho "Host $(env | grep -c "^LLAMA_ARG_") 1 1"\n', encoding="ascii"
    )
    monkeypatch.setenv("LLAMA_ARG_CACHE_TYPE_K", "f32")
    monkeypatch.setenv("LLAMA_ARG_N_GPU_LAYERS", "0")
    assert plan_memory(commands.run, release, [(b"GGUF", 10)], 1, 1, tmp_path).devices[0].model_mib == 0


@pytest.mark.parametrize(
    ("result", "said"),
    [
        (
            Result(
                -6,
                "",
                "0.00.008.823 I llama_fit_params: printing estimated memory in MiB to stdout (device, model, context, "
                "compute) ...\n"
                "0.00.107.759 E llama_model_load: error loading model: unknown model architecture: 'x'\n"
                "0.00.107.783 E llama_model_load_from_file_impl: failed to load model\n"
                "terminate called after throwing an instance of 'std::runtime_error'\n  what():  failed to load "
                "model\n",
            ),
            "llama_model_load: error loading model: unknown model architecture: 'x'.",
        ),
        (
            Result(
                -6,
                "",
                (
                    "0.00.2 I printing ...\n0.20.887.628 E llama_init_from_model: failed to initialize the context: "
                    "n_seq_max must be <= 256\n"
                ),
            ),
            "llama_init_from_model: failed to initialize the context: n_seq_max must be <= 256.",
        ),
        (
            Result(
                -6,
                "",
                (
                    "0.00.1 I printing ...\nterminate called after throwing an instance of 'std::runtime_error'\n  "
                    "what():  failed to load model\n"
                ),
            ),
            "failed: what():  failed to load model.",
        ),
        (
            Result(1, "", "error: invalid argument: --fit-print\n"),
            "failed: error: invalid argument: --fit-print.",
        ),
        (Result(-4, "", "0.00.008.823 I llama_fit_params: printing ...\n"), "failed: signal 4."),
        (Result(3, "", ""), "failed: exit status 3."),
        (Result(124, "", "/r/bin/llama-fit-params did not end within 180 s"), "did not end within 180 s."),
        (
            Result(127, "", "/r/bin/llama-fit-params: Exec format error"),
            "failed: /r/bin/llama-fit-params: Exec format error.",
        ),
        (Result(0, "nonsense", ""), "writes 'nonsense'"),
    ],
)
def test_a_failure_is_told_by_its_first_error(
    release: pathlib.Path, tmp_path: pathlib.Path, result: Result, said: str
) -> None:
    message = problem(
        lambda: plan_memory(FakeRunner(*[result] * 5), release, [(b"GGUF", 10)], 1, 1, tmp_path, "release")
    )
    assert re.match("release: expected a .+, found llama-fit-params", message)
    assert said in message
    assert sorted(path.name for path in tmp_path.iterdir()) == ["release"]


def test_a_failure_without_a_word_is_tried_again(release: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """The real program occasionally ends like this, because a thread writes its log."""
    silent = Result(
        -6,
        "",
        (
            "0.00.1 I printing ...\nterminate called after throwing an instance of 'std::runtime_error'\n  what():  "
            "failed to load model\n"
        ),
    )
    told = Result(-6, "", "0.00.1 I printing ...\n0.00.2 E llama_model_load: no such thing\n")
    run = FakeRunner(silent, silent, told)
    assert "failed: llama_model_load: no such thing." in problem(
        lambda: plan_memory(run, release, [(b"GGUF", 10)], 1, 1, tmp_path)
    )
    assert len(run.commands) == 3
    run = FakeRunner(Result(124, "", "it did not end"), told)
    assert "failed: it did not end." in problem(lambda: plan_memory(run, release, [(b"GGUF", 10)], 1, 1, tmp_path))


def test_a_release_without_the_program_is_told(tmp_path: pathlib.Path) -> None:
    message = problem(lambda: plan_memory(FakeRunner(), tmp_path, [(b"GGUF", 10)], 1, 1, tmp_path))
    assert message == (
        "gguf_model_release: expected a release of llama.cpp, found no bin/llama-fit-params in "
        f"{tmp_path}. Fix: Use llama_cpp_result.path."
    )
