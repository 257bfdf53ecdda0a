# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import pathlib
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.commands import Result
from ansible_collections.llama_fleet.core.plugins.module_utils.compiler_cache import CompilerCache, compiler_cache, find_program
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp_build import (
    Compilation,
    copy_openmp,
    copy_toolkit_libraries,
    failure,
    first_error,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError
from ansible_collections.llama_fleet.core.tests.unit.fake_runner import FakeRunner


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("[1/9] Building\nFAILED: x.o\nc++ -c x.cpp\nx.cpp:3:5: error: 'y' was not declared\nx.cpp:9:1: error: z", "x.cpp:3:5: error: 'y' was not declared"),
        ("a.cpp:1:10: fatal error: openssl/ssl.h: No such file or directory", "a.cpp:1:10: fatal error: openssl/ssl.h: No such file or directory"),
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
    problem = failure(Result(1, "c++: fatal error: Killed signal terminated program cc1plus\n", ""), pathlib.Path("/x.log"))
    assert problem.subject == "llama_cpp_jobs"
    assert "/x.log" in problem.fix


def compilation(**changes: typing.Any) -> Compilation:
    values: dict[str, typing.Any] = {
        "work": pathlib.Path("/w"),
        "log": pathlib.Path("/w.log"),
        "tools": pathlib.Path("/v/bin"),
        "compiler": "/usr/bin/c++",
        "options": {"A": "1"},
        "jobs": 3,
    }
    return Compilation(**{**values, **changes})


def test_configure() -> None:
    command = compilation().configure_command(CompilerCache("/c", {"CMAKE_C_COMPILER_LAUNCHER": "/c"}), cured=False)
    assert command[:7] == ["/v/bin/cmake", "-S", "/w/source", "-B", "/w/build", "-G", "Ninja"]
    assert {"-DA=1", "-DCMAKE_MAKE_PROGRAM=/v/bin/ninja", "-DCMAKE_C_COMPILER_LAUNCHER=/c", "-DCMAKE_CXX_COMPILER=/usr/bin/c++"} <= set(command[7:])


def test_configure_with_cuda_and_cure() -> None:
    command = compilation(cuda_toolkit="/t").configure_command(CompilerCache(), cured=True)
    assert {"-DCUDAToolkit_ROOT=/t", "-DCMAKE_CUDA_COMPILER=/t/bin/nvcc", "-DCMAKE_PROJECT_llama.cpp_INCLUDE=/w/cure.cmake"} <= set(command)


def test_the_users_options_win_over_ours() -> None:
    assert "-DCMAKE_CXX_COMPILER=/opt/g++" in compilation(options={"CMAKE_CXX_COMPILER": "/opt/g++"}).configure_command(CompilerCache(), cured=False)


@pytest.mark.parametrize("folder", ["lib64", "lib", "targets/x86_64-linux/lib"])
def test_the_toolkits_libraries_come_along(tmp_path: pathlib.Path, folder: str) -> None:
    libraries = tmp_path / "toolkit" / folder
    libraries.mkdir(parents=True)
    names = ["libcudart.so.13", "libcublas.so.13", "libcublasLt.so.13"]
    for name in names:
        (libraries / f"{name}.0.1").write_text(name, encoding="utf-8")
        (libraries / name).symlink_to(f"{name}.0.1")
    target = tmp_path / "bin"
    target.mkdir()
    copy_toolkit_libraries(tmp_path / "toolkit", "13", target, "llama_cpp_cuda_toolkit")
    assert {path.name for path in target.iterdir() if not path.is_symlink()} == set(names)
    (libraries / names[2]).unlink()
    with pytest.raises(ProblemError, match=r"no libcublasLt.so.13"):
        copy_toolkit_libraries(tmp_path / "toolkit", "13", target, "llama_cpp_cuda_toolkit")


def test_the_compilers_openmp_comes_along(tmp_path: pathlib.Path) -> None:
    (tmp_path / "gcc").mkdir()
    (tmp_path / "gcc" / "libgomp.so.1.0.0").write_text("openmp", encoding="utf-8")
    (tmp_path / "gcc" / "libgomp.so.1").symlink_to("libgomp.so.1.0.0")
    target = tmp_path / "bin"
    target.mkdir()
    copy_openmp("c++", target, lambda *_a, **_k: Result(0, "libgomp.so.1\n", ""))
    assert list(target.iterdir()) == []
    copy_openmp("c++", target, lambda *_a, **_k: Result(0, f"{tmp_path}/gcc/libgomp.so.1\n", ""))
    assert (target / "libgomp.so.1").read_text(encoding="utf-8") == "openmp"
    assert not (target / "libgomp.so.1").is_symlink()


def program(folder: pathlib.Path, name: str) -> str:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text("#!/bin/sh\n", encoding="utf-8")
    (folder / name).chmod(0o755)
    return str(folder / name)


def test_ccache_comes_before_sccache(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    assert find_program(tmp_path / "tools") == ""
    sccache = program(tmp_path / "path", "sccache")
    assert find_program(tmp_path / "tools") == sccache
    ccache = program(tmp_path / "tools", "ccache")
    assert find_program(tmp_path / "tools") == ccache


@pytest.mark.parametrize(("cuda", "languages"), [(False, ["C", "CXX"]), (True, ["C", "CXX", "CUDA"])])
def test_ccache(tmp_path: pathlib.Path, cuda: bool, languages: list[str]) -> None:
    with compiler_cache("/usr/bin/ccache", tmp_path / "cache", tmp_path, "digest", cuda, FakeRunner()) as cache:
        assert cache.options == {f"CMAKE_{language}_COMPILER_LAUNCHER": "/usr/bin/ccache" for language in languages}
        assert cache.environment["CCACHE_BASEDIR"] == str(tmp_path)
        assert pathlib.Path(cache.environment["CCACHE_EXTRAFILES"]).read_text(encoding="utf-8") == "digest"


def test_sccache_has_a_server_of_its_own_and_stops_it(tmp_path: pathlib.Path) -> None:
    recorder = FakeRunner()
    with compiler_cache("/usr/bin/sccache", tmp_path / "cache", tmp_path, "digest", cuda=False, run=recorder) as cache:
        assert cache.environment["SCCACHE_C_CUSTOM_CACHE_BUSTER"] == "digest"
        socket = cache.environment["SCCACHE_SERVER_UDS"]
    assert recorder.commands == [["/usr/bin/sccache", "--start-server"], ["/usr/bin/sccache", "--stop-server"]]
    assert {environment["SCCACHE_SERVER_UDS"] for environment in recorder.environments} == {socket}


def test_no_cache_is_no_matter(tmp_path: pathlib.Path) -> None:
    with compiler_cache("", tmp_path / "cache", tmp_path, "", cuda=False, run=FakeRunner()) as cache:
        assert (cache.options, cache.environment) == ({}, {})
