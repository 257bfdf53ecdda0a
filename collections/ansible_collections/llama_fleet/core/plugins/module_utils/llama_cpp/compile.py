# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""llama.cpp compiled with CMake and Ninja: told how far it is, and what went wrong."""

from __future__ import annotations

import dataclasses
import mmap
import os
import pathlib
import re
import shutil
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.problems import (
    Problem,
    ProblemError,
    nearest,
    one_of,
    raise_if_any,
)

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import Result, Runner
    from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.compiler_cache import CompilerCache
    from ansible_collections.llama_fleet.core.plugins.module_utils.progress import Progress

PROGRAMS = ("llama-server", "llama-bench", "llama-fit-params", "llama-gguf-split")
# Some compilers use AMX where the kernel or the hypervisor does not grant it.
AMX_CURE = ("-mno-amx-tile", "-mno-amx-int8", "-mno-amx-bf16")

_STEP = re.compile(r"\[(\d+)/(\d+)\]")
_ERROR = re.compile(r"\berror: |^nvcc fatal|\bundefined reference to|^CMake Error|No space left on device|: not found$")
_KILLED = re.compile(r"Killed signal|\bKilled\b")
# Only ggml-cpu and its variants are compiled for one CPU, of the variants few with AMX: all other objects stay as they
# are.
_CURE_SCRIPT = """function(llama_fleet_cure folder)
  get_property(targets DIRECTORY "${folder}" PROPERTY BUILDSYSTEM_TARGETS)
  foreach(target IN LISTS targets)
    if(target MATCHES "^ggml-cpu")
      get_target_property(options ${target} COMPILE_OPTIONS)
      if(target STREQUAL "ggml-cpu" OR "${options} ${CMAKE_C_FLAGS} ${CMAKE_CXX_FLAGS}" MATCHES "-mamx|-march=")
        target_compile_options(${target} PRIVATE "$<$<COMPILE_LANGUAGE:C,CXX>:@FLAGS@>")
      endif()
    endif()
  endforeach()
  get_property(below DIRECTORY "${folder}" PROPERTY SUBDIRECTORIES)
  foreach(one IN LISTS below)
    llama_fleet_cure("${one}")
  endforeach()
endfunction()
cmake_language(DEFER CALL llama_fleet_cure "${CMAKE_CURRENT_SOURCE_DIR}")
"""
_OPTIONS = "llama_cpp_cmake_options"
# Characters; one of llama.cpp has a tenth of that.
_LONGEST_CACHE = 1 << 20
_UNUSED = re.compile(r"Manually-specified variables were not used by the project:\n\n((?: +\S+\n)+)")
_IGNORED = re.compile(r"^\s*(\w+) is deprecated and will be ignored", re.MULTILINE)
# What is declared has a type in the cache; what was only given has none.
_UNDECLARED = re.compile(r"^(GGML_\w*):UNINITIALIZED=", re.MULTILINE)
_DECLARED = re.compile(r"^([A-Za-z_][\w.+-]*):(?:BOOL|STRING|PATH|FILEPATH)=", re.MULTILINE)
# Of the compiler's own libraries the one that bare hosts lack; the C++ library is everywhere.
_OPENMP = "libgomp.so.1"
_TOOLKIT_LIBRARIES = ("libcudart", "libcublas", "libcublasLt")
_RUN_TIME_COMPILER = "libnvrtc"
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
    user_options: typing.Collection[str] = ()  # those of ``options`` that the user gave

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
            self._cure_script.write_text(_CURE_SCRIPT.replace("@FLAGS@", ";".join(AMX_CURE)), encoding="utf-8")
        progress.stage("configuring llama.cpp")
        configured = self._logged(self.configure_command(cache, cured), cache, progress, runner)
        raise_if_any(self._unknown_options(configured.stdout, runner))
        again = " again without AMX" if cured else ""
        # The server first: what a build has compiled that is broken off stays in the compilers' cache, and nothing runs
        # without it.
        for what, programs in ((f"llama.cpp{again}", PROGRAMS[:1]), (f"llama.cpp's tools{again}", PROGRAMS)):
            progress.stage(f"building {what}")
            self._logged(
                [str(self.tools / "ninja"), "-C", str(self.work / "build"), "-j", str(self.jobs), *programs],
                cache,
                progress,
                runner,
            )

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
        return [
            str(self.tools / "cmake"),
            "-S",
            str(self.work / "source"),
            "-B",
            str(self.work / "build"),
            "-G",
            "Ninja",
            *definitions,
        ]

    def _unknown_options(self, output: str, runner: Runner) -> list[Problem]:
        source, cache_file = self.work / "source", self.work / "build" / "CMakeCache.txt"
        cache = _text_of(cache_file) if self.user_options else ""
        if not suspicious_options(output, self.user_options, cache):
            return []
        scripts = "\n".join(
            path.read_text(encoding="utf-8", errors="replace")
            for path in source.rglob("*")
            if path.name == "CMakeLists.txt" or path.suffix == ".cmake"
        )
        cmakes = runner([str(self.tools / "cmake"), "--help-variable-list"], timeout=60).stdout
        return unknown_options(output, self.user_options, cache, scripts, cmakes)

    def _logged(self, command: list[str], cache: CompilerCache, progress: Progress, runner: Runner) -> Result:
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
        return result


def _text_of(path: pathlib.Path) -> str:
    """Return a text that compilers wrote, who have fewer rights than this process: no link of theirs is followed.

    Raises OSError.
    """
    with os.fdopen(
        os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), encoding="utf-8", errors="replace"
    ) as file:
        return file.read(_LONGEST_CACHE)


def suspicious_options(output: str, user: typing.Iterable[str], cache: str) -> list[str]:
    """The user's options that CMake, configuring, said nobody asked for, or the source that it ignores.

    llama.cpp looks at every variable whose name begins with GGML_, so that CMake takes those for asked for: of them
    the ones count that are not declared.
    """
    unused = _UNUSED.search(output)
    named = {*(unused[1].split() if unused else ()), *_IGNORED.findall(output), *_UNDECLARED.findall(cache)}
    return [name for name in user if name in named]


def unknown_options(output: str, user: typing.Iterable[str], cache: str, scripts: str, cmakes: str) -> list[Problem]:
    """A problem for each of the user's options that would come to nothing because the source does not know it.

    ``output`` is what configuring printed, ``cache`` the text of CMakeCache.txt, ``scripts`` that of the source's CMake
    files and ``cmakes`` the names of CMake's own variables. One that the scripts or CMake name is known: another
    backend asks for it.
    """
    ignored = set(_IGNORED.findall(output))
    words = set(re.findall(r"[\w.+-]+", scripts))
    own = _variables_of_cmake(cmakes)
    problems = []
    for name in suspicious_options(output, user, cache):
        if name in ignored:
            problems.append(
                Problem(_OPTIONS, f"{name}, which this source ignores", "options that it still has", "leave it out")
            )
        elif name not in words and not own.fullmatch(name):
            close = nearest(name.upper(), _DECLARED.findall(cache))
            wanted = f"an option of it; the nearest are {one_of(close)}" if close else "an option of it"
            problems.append(
                Problem(_OPTIONS, f"{name}, which this source does not know", wanted, "correct it, or leave it out")
            )
    return problems


def _variables_of_cmake(names: str) -> re.Pattern[str]:
    """Matches what ``cmake --help-variable-list`` lists, and hints where a package lies."""
    kinds = {"<LANG>": "[A-Za-z]+", "<CONFIG>": "(DEBUG|RELEASE|RELWITHDEBINFO|MINSIZEREL)"}
    patterns = [
        re.sub(r"<[^>]*>", lambda part: kinds.get(part[0], r"\w+"), name)
        for name in names.split()
        if re.fullmatch(r"\w[\w<>-]*", name)
    ]
    return re.compile("|".join([r"(?!GGML_|LLAMA_)\w+_(ROOT|ROOT_DIR|DIR)", *patterns]))


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
    folders = [toolkit / folder for folder in _TOOLKIT_FOLDERS]
    for name in _TOOLKIT_LIBRARIES:
        soname = f"{name}.so.{major}"
        found = next((folder / soname for folder in folders if (folder / soname).exists()), None)
        if found is None:
            raise ProblemError(
                Problem(
                    variable, f"'{toolkit}', which has no {soname}", "a toolkit with its runtime libraries and cuBLAS"
                )
            )
        shutil.copy2(found, target / soname)
        if _names(found, f"{_RUN_TIME_COMPILER}.so.{major}"):
            _copy_run_time_compiler(folders, major, target)


def _names(library: pathlib.Path, soname: str) -> bool:
    """Whether ``library`` loads ``soname`` without being linked to it."""
    if not library.stat().st_size:  # which cannot be mapped
        return False
    with library.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(soname.encode()) >= 0


def _copy_run_time_compiler(folders: typing.Iterable[pathlib.Path], major: str, target: pathlib.Path) -> None:
    """It has a second library, which is named by the minor version too.

    A toolkit may be without them, for few models need them.
    """
    for folder in folders:
        for found in [
            folder / f"{_RUN_TIME_COMPILER}.so.{major}",
            *folder.glob(f"{_RUN_TIME_COMPILER}-builtins.so.{major}.*"),
        ]:
            if found.exists() and re.fullmatch(r".*\.so\.\d+(\.\d+)?", found.name):
                shutil.copy2(found, target / found.name)
