# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import json
import shlex
import subprocess
from typing import TYPE_CHECKING

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.host.memory import GIB
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.faults import AMX_SHIM, NO_AMX
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.recipe import (
    Recipe,
    choose,
    chosen_by_user,
    refusal,
    remember_refusal,
    script,
)
from ansible_collections.llama_fleet.core.tests.unit.fakes import llama_cpp as fake_llama_cpp

if TYPE_CHECKING:
    import pathlib

PLENTY = 64 * GIB


@pytest.mark.parametrize(
    ("requested", "cores", "memory", "cuda", "recipe"),
    [
        (0, 2, PLENTY, False, Recipe(2, 16, True)),
        (0, 4, PLENTY, False, Recipe(4, 16, True)),
        (0, 8, PLENTY, False, Recipe(8, 8, True)),
        # With many jobs one file each is faster.
        (0, 16, PLENTY, False, Recipe(16, 0, True)),
        (0, 64, PLENTY, False, Recipe(64, 0, True)),
        # A batch takes more memory than a file: fewer jobs, as long as that pays.
        (0, 8, 8 * GIB, False, Recipe(6, 8, True)),
        (0, 2, 2 * GIB, False, Recipe(2, 0, True)),
        (0, 2, 2 * GIB + GIB // 2, False, Recipe(2, 16, True)),
        (0, 2, GIB, False, Recipe(1, 0, True)),
        # A compiler for CUDA takes more than a batch.
        (0, 8, 8 * GIB, True, Recipe(4, 16, True)),
        # The user's jobs are kept.
        (6, 2, PLENTY, False, Recipe(6, 8, True)),
        (6, 2, 6 * GIB, False, Recipe(6, 0, True)),
        (1, 64, PLENTY, False, Recipe(1, 16, True)),
        # Unknown memory
        (0, 4, 0, False, Recipe(4, 16, True)),
    ],
)
def test_batches_fit_cores_and_memory(requested: int, cores: int, memory: int, cuda: bool, recipe: Recipe) -> None:
    assert choose(requested, cores, memory, cuda, plain=False) == recipe
    plain = choose(requested, cores, memory, cuda, plain=True)
    assert (plain.plain, plain.jobs >= recipe.jobs, recipe.plain, recipe.plainly().plain) == (True, True, False, True)


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("CMAKE_UNITY_BUILD", True),
        ("CMAKE_UNITY_BUILD_BATCH_SIZE", True),
        ("CMAKE_BUILD_TYPE", True),
        ("CMAKE_CXX_FLAGS", True),
        ("CMAKE_CXX_FLAGS_RELEASE", True),
        ("CMAKE_CUDA_FLAGS", False),
        ("GGML_LTO", False),
    ],
)
def test_the_user_may_choose(name: str, own: bool) -> None:
    assert chosen_by_user(["GGML_RPC", name]) is own


def test_a_refusal_is_remembered_for_its_source(tmp_path: pathlib.Path) -> None:
    assert refusal(tmp_path, "ab" * 32) == ""
    remember_refusal(tmp_path, "ab" * 32, "error: x" * 1000)
    remember_refusal(tmp_path, "cd" * 20, "error: y")
    assert (len(refusal(tmp_path, "ab" * 32)), refusal(tmp_path, "cd" * 20)) == (1000, "error: y")
    assert refusal(tmp_path, "ef" * 20) == ""


def test_the_record_of_refusals_is_bounded_and_a_damaged_one_is_replaced(tmp_path: pathlib.Path) -> None:
    for number in range(150):
        remember_refusal(tmp_path, f"{number:040x}", "error")
    assert len(json.loads((tmp_path / "plain.json").read_text(encoding="utf-8"))) == 100
    assert refusal(tmp_path, f"{149:040x}") == "error"
    (tmp_path / "plain.json").write_text('{"../x": 1}', encoding="utf-8")
    assert refusal(tmp_path, f"{149:040x}") == ""
    remember_refusal(tmp_path, f"{1:040x}", "error")
    assert refusal(tmp_path, f"{1:040x}") == "error"


Commands = dict[str, list[str]]


def configured(folder: pathlib.Path, text: str, *options: str) -> Commands:
    """Configure the fake project with the script ``text``; return the compiler's words for each file."""
    fake_llama_cpp.write_project(folder / "source")
    (folder / "adjust.cmake").write_text(text, encoding="utf-8")
    command = ["cmake", "-S", str(folder / "source"), "-B", str(folder / "build"), "-G", "Ninja", *options]
    command += ["-DCMAKE_EXPORT_COMPILE_COMMANDS=ON", "-DCMAKE_BUILD_TYPE=Release"]
    command += [f"-DCMAKE_PROJECT_llama.cpp_INCLUDE={folder / 'adjust.cmake'}"]
    subprocess.run(command, check=True, capture_output=True)
    found = json.loads((folder / "build" / "compile_commands.json").read_text(encoding="utf-8"))
    commands = [shlex.split(each["command"]) for each in found]
    return {words[words.index("-o") + 1]: words for words in commands}


def words_of(commands: Commands, part: str) -> list[str]:
    (words,) = [words for output, words in commands.items() if part in output]
    return words


@pytest.mark.skipif(
    bool(fake_llama_cpp.missing_tools()), reason=f"needs {' '.join(fake_llama_cpp.missing_tools())} on PATH"
)
class TestScript:
    def test_a_plain_recipe_changes_nothing(self, tmp_path: pathlib.Path) -> None:
        commands = configured(tmp_path, script(Recipe(2), [], {}))
        assert not [output for output in commands if "/Unity/" in output]
        assert len([output for output in commands if "llama-common.dir" in output]) == 2
        assert not [words for words in commands.values() if "-O1" in words]

    def test_batches_and_light_optimization_outside_ggml(self, tmp_path: pathlib.Path) -> None:
        commands = configured(tmp_path, script(Recipe(2, 16, True), [], {}))
        assert "-O1" not in words_of(commands, "ggml-cpu.dir")
        common = words_of(commands, "llama-common.dir")
        assert common.index("-O1") > common.index("-O3")  # the last one counts
        assert "/Unity/unity_0" in "".join(output for output in commands if "llama-common.dir" in output)
        assert "-O1" in words_of(commands, "llama-server.dir")
        helpers = [output.rpartition("/")[2] for output in commands if "mtmd.dir" in output]
        assert sorted(helpers) == ["mtmd-helper.cpp.o", "unity_0_cxx.cxx.o"]

    def test_the_size_of_a_batch_is_the_recipes(self, tmp_path: pathlib.Path) -> None:
        commands = configured(tmp_path, script(Recipe(2, 1, True), [], {}))
        assert len([output for output in commands if "llama-common.dir/Unity/" in output]) == 2

    def test_a_cure_reaches_ggml_alone(self, tmp_path: pathlib.Path) -> None:
        header = tmp_path / "a folder" / "shim.h"
        commands = configured(tmp_path, script(Recipe(2, 16, True), [AMX_SHIM, NO_AMX], {"amx-shim": header}))
        cured = words_of(commands, "ggml-cpu.dir")
        assert cured[cured.index("-include") + 1] == str(header)
        assert set(NO_AMX.flags) <= set(cured)
        assert [output for output, words in commands.items() if "-include" in words or NO_AMX.flags[0] in words] == [
            next(output for output in commands if "ggml-cpu.dir" in output)
        ]

    def test_only_the_variants_that_use_the_feature_are_cured(self, tmp_path: pathlib.Path) -> None:
        options = ("-DGGML_BACKEND_DL=ON", "-DGGML_CPU_ALL_VARIANTS=ON", "-DFAKE_AMX=ON")
        commands = configured(tmp_path, script(Recipe(2), [NO_AMX], {}), *options)
        assert set(NO_AMX.flags) <= set(words_of(commands, "ggml-cpu-sapphirerapids.dir"))
        assert not set(NO_AMX.flags) & set(words_of(commands, "ggml-cpu-x64.dir"))
