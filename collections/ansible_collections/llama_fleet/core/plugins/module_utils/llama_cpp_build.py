# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""llama.cpp compiled with CMake and Ninja: told how far it is, and what went wrong."""

from __future__ import annotations

import dataclasses
import pathlib
import re
import shutil
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.commands import Result, Runner
    from ansible_collections.llama_fleet.core.plugins.module_utils.compiler_cache import CompilerCache
    from ansible_collections.llama_fleet.core.plugins.module_utils.progress import Progress

PROGRAMS = ("llama-server", "llama-bench", "llama-fit-params", "llama-gguf-split")
# Some compilers use AMX where the kernel or the hypervisor does not grant it.
AMX_CURE = ("-mno-amx-tile", "-mno-amx-int8", "-mno-amx-bf16")

_STEP = re.compile(r"\[(\d+)/(\d+)\]")
_ERROR = re.compile(r"\berror: |^nvcc fatal|\bundefined reference to|^CMake Error|No space left on device|: not found$")
_KILLED = re.compile(r"Killed signal|\bKilled\b")
# Only ggml-cpu is compiled for the native CPU: this leaves all other objects as they are.
_CURE_SCRIPT = """function(llama_fleet_cure)
  if(TARGET ggml-cpu)
    target_compile_options(ggml-cpu PRIVATE "$<$<COMPILE_LANGUAGE:C,CXX>:{flags}>")
  endif()
endfunction()
cmake_language(DEFER CALL llama_fleet_cure)
"""
# Of the compiler's own libraries the one that bare hosts lack; the C++ library is everywhere.
_OPENMP = "libgomp.so.1"
_TOOLKIT_LIBRARIES = ("libcudart", "libcublas", "libcublasLt")
_TOOLKIT_FOLDERS = ("lib64", "lib", "targets/x86_64-linux/lib", "targets/sbsa-linux/lib")


@dataclasses.dataclass(frozen=True)
class Compilation:
    """One build. ``work`` holds ``source`` (there already) and ``build``; ``tools`` has cmake and ninja."""

    work: pathlib.Path
    log: pathlib.Path
    tools: pathlib.Path
    compiler: str
    options: typing.Mapping[str, str]
    jobs: int
    cuda_toolkit: str = ""

    @property
    def programs(self) -> pathlib.Path:
        """Where the programs and libraries appear."""
        return self.work / "build" / "bin"

    @property
    def _cure_script(self) -> pathlib.Path:
        return self.work / "cure.cmake"

    def run(self, cache: CompilerCache, progress: Progress, runner: Runner, cured: bool = False) -> None:
        """Configure and compile; raises with the first error and the log's path."""
        if cured:
            self._cure_script.write_text(_CURE_SCRIPT.format(flags=";".join(AMX_CURE)), encoding="utf-8")
        progress.stage("configuring llama.cpp")
        self._logged(self.configure_command(cache, cured), cache, progress, runner)
        progress.stage("building llama.cpp again without AMX" if cured else "building llama.cpp")
        self._logged([str(self.tools / "ninja"), "-C", str(self.work / "build"), "-j", str(self.jobs), *PROGRAMS], cache, progress, runner)

    def configure_command(self, cache: CompilerCache, cured: bool) -> list[str]:
        options = {
            "CMAKE_MAKE_PROGRAM": str(self.tools / "ninja"),
            "CMAKE_CXX_COMPILER": self.compiler,
            # Else the path of this folder is in sources that CMake writes, and no cache knows them in another.
            "CMAKE_UNITY_BUILD_RELOCATABLE": "ON",
            **cache.options,
        }
        if self.cuda_toolkit:
            options.update(CUDAToolkit_ROOT=self.cuda_toolkit, CMAKE_CUDA_COMPILER=f"{self.cuda_toolkit}/bin/nvcc")
        if cured:
            options["CMAKE_PROJECT_llama.cpp_INCLUDE"] = str(self._cure_script)
        options.update(self.options)
        definitions = [f"-D{name}={value}" for name, value in options.items()]
        return [str(self.tools / "cmake"), "-S", str(self.work / "source"), "-B", str(self.work / "build"), "-G", "Ninja", *definitions]

    def _logged(self, command: list[str], cache: CompilerCache, progress: Progress, runner: Runner) -> None:
        environment = {**cache.environment, "NINJA_STATUS": "[%f/%t] "}
        if self.cuda_toolkit:
            environment["CUDACXX"] = f"{self.cuda_toolkit}/bin/nvcc"
        with self.log.open("a", encoding="utf-8") as log:
            log.write(f"$ {' '.join(command)}\n")

            def on_line(line: str) -> None:
                log.write(f"{line}\n")
                step = _STEP.match(line)
                if step:
                    progress.update(int(step.group(1)), int(step.group(2)))

            result = runner(command, env=environment, on_line=on_line)
        if not result.ok:
            raise ProblemError(failure(result, self.log))


def failure(result: Result, log: pathlib.Path) -> Problem:
    """What stopped a build, out of what it printed."""
    text = f"{result.stdout}\n{result.stderr}"
    if _KILLED.search(text):
        return Problem(
            "llama_cpp_jobs",
            "a compiler that was killed, most likely for want of memory",
            "memory for every job",
            f"lower llama_cpp_jobs; the whole log is {log}",
        )
    return Problem("compiler", f"'{first_error(text)}'", "a build without errors", f"read {log}")


def first_error(text: str) -> str:
    """The first error's line, and after a CMake error's head the sentence it announces."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for number, line in enumerate(lines):
        if _ERROR.search(line):
            return " ".join(lines[number : number + 3]) if line.startswith("CMake Error") else line
    return lines[-1] if lines else "nothing"


def strip_symbols(folder: pathlib.Path, runner: Runner) -> None:
    """Drop what only a debugger reads, where the host can."""
    files = [str(path) for path in sorted(folder.iterdir()) if path.is_file() and not path.is_symlink()]
    if shutil.which("strip"):
        runner(["strip", "--strip-unneeded", *files], timeout=300)


def copy_openmp(compiler: str, target: pathlib.Path, runner: Runner) -> None:
    """Put the compiler's OpenMP library beside the programs, so that they start on hosts without a compiler."""
    found = pathlib.Path(runner([compiler, f"-print-file-name={_OPENMP}"], timeout=60).stdout.strip())
    if found.is_absolute() and found.exists():  # a compiler that has none prints the bare name
        shutil.copy2(found, target / _OPENMP)


def copy_toolkit_libraries(toolkit: pathlib.Path, major: str, target: pathlib.Path, variable: str) -> None:
    """Put the CUDA libraries that the release loads beside its programs; raises where one is missing."""
    for name in _TOOLKIT_LIBRARIES:
        soname = f"{name}.so.{major}"
        found = next((toolkit / folder / soname for folder in _TOOLKIT_FOLDERS if (toolkit / folder / soname).exists()), None)
        if found is None:
            raise ProblemError(Problem(variable, f"'{toolkit}', which has no {soname}", "a toolkit with its runtime libraries and cuBLAS"))
        shutil.copy2(found, target / soname)
