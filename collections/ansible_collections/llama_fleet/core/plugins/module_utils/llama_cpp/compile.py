# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Compile llama.cpp with CMake and Ninja, report progress, and explain failures."""

from __future__ import annotations

import dataclasses
import mmap
import os
import pathlib
import re
import shutil
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.recipe import script
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
    from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.faults import Cure
    from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.recipe import Recipe
    from ansible_collections.llama_fleet.core.plugins.module_utils.progress import Progress

PROGRAMS = ("llama-server", "llama-bench", "llama-fit-params", "llama-gguf-split")

_ANYTHING = re.compile("")
_STEP = re.compile(r"\[(\d+)/(\d+)\]")
_ERROR = re.compile(r"\berror: |^nvcc fatal|\bundefined reference to|^CMake Error|No space left on device|: not found$")
# A file that CMake wrote for a batch, and what a linker says.
_OF_BATCHES = re.compile(r"/Unity/unity_|undefined reference to|multiple definition of")
_KILLED = re.compile(r"Killed signal|\bKilled\b")
_OPTIONS = "llama_cpp_cmake_options"
# Characters; llama.cpp's has a tenth of that.
_LONGEST_CACHE = 1 << 20
_UNUSED = re.compile(r"Manually-specified variables were not used by the project:\n\n((?: +\S+\n)+)")
_IGNORED = re.compile(r"^\s*(\w+) is deprecated and will be ignored", re.MULTILINE)
# Declared options have a type in the cache; options that were only given have none.
_UNDECLARED = re.compile(r"^(GGML_\w*):UNINITIALIZED=", re.MULTILINE)
_DECLARED = re.compile(r"^([A-Za-z_][\w.+-]*):(?:BOOL|STRING|PATH|FILEPATH)=", re.MULTILINE)
# The only compiler library that bare hosts lack; the C++ library is on every host.
_OPENMP = "libgomp.so.1"
_TOOLKIT_LIBRARIES = ("libcudart", "libcublas", "libcublasLt")
_RUN_TIME_COMPILER = "libnvrtc"
_TOOLKIT_FOLDERS = ("lib64", "lib", "targets/x86_64-linux/lib", "targets/sbsa-linux/lib")


class RefusedError(ProblemError):
    """A build that failed with our recipe and may succeed plainly; ``killed`` if a compiler was killed."""

    def __init__(self, problem: Problem, error: str, killed: bool) -> None:
        super().__init__(problem)
        self.error = error
        self.killed = killed


@dataclasses.dataclass(frozen=True)
class Compilation:
    """One build. ``work`` holds ``source`` (existing) and ``build``; ``tools`` holds cmake and ninja."""

    work: pathlib.Path
    log: pathlib.Path
    tools: pathlib.Path
    compiler: str
    options: typing.Mapping[str, str]
    recipe: Recipe
    cures: tuple[Cure, ...] = ()
    cuda_toolkit: str = ""
    user_options: typing.Collection[str] = ()  # names of ``options`` set by the user

    @property
    def programs(self) -> pathlib.Path:
        """Return the folder of the built programs and libraries."""
        return self.work / "build" / "bin"

    @property
    def _script(self) -> pathlib.Path:
        return self.work / "adjust.cmake"

    def run(self, cache: CompilerCache, progress: Progress, runner: Runner) -> None:
        """Configure and compile.

        Raises ProblemError with the first error and the path of the log, RefusedError if the recipe may be the cause.
        """
        self._write_script()
        progress.stage("configuring llama.cpp")
        configured = self._logged(self.configure_command(cache), cache, progress, runner, _ANYTHING)
        raise_if_any(self._unknown_options(configured.stdout, runner))
        # Build the server first: nothing runs without it, and an interrupted build keeps it in the compiler cache. The
        # release is complete only with the tools: the smoke test runs llama-bench, and llama-fit-params plans memory.
        for what, programs in (("llama.cpp", PROGRAMS[:1]), ("llama.cpp's tools", PROGRAMS)):
            progress.stage(f"building {what}")
            ninja = [str(self.tools / "ninja"), "-C", str(self.work / "build"), "-j", str(self.recipe.jobs)]
            self._logged([*ninja, *programs], cache, progress, runner, _OF_BATCHES)

    def _write_script(self) -> None:
        headers = {cure.name: self.work / f"{cure.name}.h" for cure in self.cures if cure.header}
        for cure in self.cures:
            if cure.header:
                headers[cure.name].write_text(cure.header, encoding="utf-8")
        self._script.write_text(script(self.recipe, self.cures, headers), encoding="utf-8")

    def configure_command(self, cache: CompilerCache) -> list[str]:
        options = {
            "CMAKE_MAKE_PROGRAM": str(self.tools / "ninja"),
            "CMAKE_CXX_COMPILER": self.compiler,
            # Otherwise CMake writes this folder's path into sources, and no cache recognizes them in another folder.
            "CMAKE_UNITY_BUILD_RELOCATABLE": "ON",
            "CMAKE_PROJECT_llama.cpp_INCLUDE": str(self._script),
            **cache.options,
        }
        if self.cuda_toolkit:
            options.update(CUDAToolkit_ROOT=self.cuda_toolkit, CMAKE_CUDA_COMPILER=f"{self.cuda_toolkit}/bin/nvcc")
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

    def _logged(
        self, command: list[str], cache: CompilerCache, progress: Progress, runner: Runner, refused: re.Pattern[str]
    ) -> Result:
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
            problem, said = failure(result, self.log), f"{result.stdout}\n{result.stderr}"
            if not self.recipe.plain and refused.search(said):
                raise RefusedError(problem, first_error(said).replace(f"{self.work}/", ""), bool(_KILLED.search(said)))
            raise ProblemError(problem)
        return result


def _text_of(path: pathlib.Path) -> str:
    """Return a text file that the less privileged compilers wrote, without following their links.

    Raises OSError.
    """
    with os.fdopen(
        os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), encoding="utf-8", errors="replace"
    ) as file:
        return file.read(_LONGEST_CACHE)


def suspicious_options(output: str, user: typing.Iterable[str], cache: str) -> list[str]:
    """Return the user's options that CMake reported as unused or the source as ignored.

    llama.cpp reads every variable whose name begins with GGML_, so CMake counts those as used: of these, the undeclared
    ones are suspicious.
    """
    unused = _UNUSED.search(output)
    named = {*(unused[1].split() if unused else ()), *_IGNORED.findall(output), *_UNDECLARED.findall(cache)}
    return [name for name in user if name in named]


def unknown_options(output: str, user: typing.Iterable[str], cache: str, scripts: str, cmakes: str) -> list[Problem]:
    """Return a problem for each user option that has no effect because the source does not know it.

    ``output`` is the configure output, ``cache`` the text of CMakeCache.txt, ``scripts`` that of the source's CMake
    files, and ``cmakes`` the names of CMake's own variables. An option named in the scripts or by CMake is known:
    another backend uses it.
    """
    ignored = set(_IGNORED.findall(output))
    words = set(re.findall(r"[\w.+-]+", scripts))
    own = _variables_of_cmake(cmakes)
    problems = []
    for name in suspicious_options(output, user, cache):
        if name in ignored:
            problems.append(
                Problem(_OPTIONS, f"{name}, which this source ignores", "options that it supports", "leave it out")
            )
        elif name not in words and not own.fullmatch(name):
            close = nearest(name.upper(), _DECLARED.findall(cache))
            wanted = f"an option of it; the nearest are {one_of(close)}" if close else "an option of it"
            problems.append(
                Problem(_OPTIONS, f"{name}, which this source does not know", wanted, "correct it, or leave it out")
            )
    return problems


def _variables_of_cmake(names: str) -> re.Pattern[str]:
    """Return a pattern for the names in ``cmake --help-variable-list`` and for package location hints."""
    kinds = {"<LANG>": "[A-Za-z]+", "<CONFIG>": "(DEBUG|RELEASE|RELWITHDEBINFO|MINSIZEREL)"}
    patterns = [
        re.sub(r"<[^>]*>", lambda part: kinds.get(part[0], r"\w+"), name)
        for name in names.split()
        if re.fullmatch(r"\w[\w<>-]*", name)
    ]
    return re.compile("|".join([r"(?!GGML_|LLAMA_)\w+_(ROOT|ROOT_DIR|DIR)", *patterns]))


def failure(result: Result, log: pathlib.Path) -> Problem:
    """Return the problem that stopped a build, from its output."""
    text = f"{result.stdout}\n{result.stderr}"
    if _KILLED.search(text):
        return Problem(
            "llama_cpp_jobs",
            "a compiler that was killed, most likely for lack of memory",
            "enough memory for every job",
            f"lower llama_cpp_jobs; the full log is {log}",
        )
    return Problem("compiler", f"'{first_error(text)}'", "a build without errors", f"read {log}")


def first_error(text: str) -> str:
    """Return the line of the first error; for a CMake error, also the sentence after its heading."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for number, line in enumerate(lines):
        if _ERROR.search(line):
            return " ".join(lines[number : number + 3]) if line.startswith("CMake Error") else line
    return lines[-1] if lines else "nothing"


def strip_symbols(folder: pathlib.Path, runner: Runner) -> None:
    """Remove debugging symbols, if the host has strip."""
    files = [str(path) for path in sorted(folder.iterdir()) if path.is_file() and not path.is_symlink()]
    if shutil.which("strip"):
        runner(["strip", "--strip-unneeded", *files], timeout=300)


def copy_openmp(compiler: str, target: pathlib.Path, runner: Runner) -> None:
    """Copy the compiler's OpenMP library beside the programs, for hosts without a compiler."""
    library = pathlib.Path(runner([compiler, f"-print-file-name={_OPENMP}"], timeout=60).stdout.strip())
    if library.is_absolute() and library.exists():  # a compiler without it prints the bare name
        shutil.copy2(library, target / _OPENMP)


def copy_toolkit_libraries(toolkit: pathlib.Path, major: str, target: pathlib.Path, variable: str) -> None:
    """Copy the CUDA libraries of the release beside its programs. Raises ProblemError if one is missing."""
    folders = [toolkit / folder for folder in _TOOLKIT_FOLDERS]
    for name in _TOOLKIT_LIBRARIES:
        soname = f"{name}.so.{major}"
        library = next((folder / soname for folder in folders if (folder / soname).exists()), None)
        if library is None:
            wanted = "a toolkit with its runtime libraries and cuBLAS"
            raise ProblemError(Problem(variable, f"'{toolkit}', which has no {soname}", wanted))
        shutil.copy2(library, target / soname)
        if _names(library, f"{_RUN_TIME_COMPILER}.so.{major}"):
            _copy_run_time_compiler(folders, major, target)


def _names(library: pathlib.Path, soname: str) -> bool:
    """Return whether ``library`` may load ``soname`` at run time, because it contains the name."""
    if not library.stat().st_size:  # an empty file cannot be mapped
        return False
    with library.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(soname.encode()) >= 0


def _copy_run_time_compiler(folders: typing.Iterable[pathlib.Path], major: str, target: pathlib.Path) -> None:
    """Copy the run-time compiler and its second library, which has the minor version in its name.

    Skips them if the toolkit lacks them, because few models need them.
    """
    for folder in folders:
        for library in [
            folder / f"{_RUN_TIME_COMPILER}.so.{major}",
            *folder.glob(f"{_RUN_TIME_COMPILER}-builtins.so.{major}.*"),
        ]:
            if library.exists() and re.fullmatch(r".*\.so\.\d+(\.\d+)?", library.name):
                shutil.copy2(library, target / library.name)
