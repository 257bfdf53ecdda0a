# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Choose how llama.cpp is compiled: jobs, files per batch and optimization, and remember which sources refuse batches.

Most of a build's CPU time goes into parsing the same headers for each file. A batch (CMake's unity build) parses them
once for several files. Outside ggml, which computes the tokens, -O1 compiles faster and costs no tokens per second.
"""

from __future__ import annotations

import dataclasses
import re
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.host.files import read_json, write_json
from ansible_collections.llama_fleet.core.plugins.module_utils.host.memory import GIB, job_count
from ansible_collections.llama_fleet.core.plugins.module_utils.untrusted import Table, Text

if typing.TYPE_CHECKING:
    import pathlib

    from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.faults import Cure

# Part of the fingerprint. Change it if a new version of this collection compiles the same source differently.
RECIPE = 2
# Targets with many small files that share large headers.
_BATCHED = ("llama-common", "common", "mtmd", "server-context", "server-impl", "llama-server-impl")
# These define names that clash with those of other files.
_APART = "mtmd-helper[^/]*[.]cpp"
_PLAIN_JOB = GIB  # bytes; one file takes up to 0.7 GB
_CUDA_JOB = 2 * GIB
_BATCH_JOB = GIB + GIB // 4  # bytes; one batch takes up to 1.15 GB
# Most jobs → files per batch. With more jobs the largest batch would take longer than all files one by one.
_SIZES = ((4, 16), (15, 8))
# A build in batches takes about this share of the CPU time, so it may run with that share of the jobs.
_WORTH = 0.6
# The user's own choices of how to compile.
_OWN = re.compile(r"CMAKE_(BUILD_TYPE|UNITY_BUILD\w*|CXX_FLAGS\w*)")
_RECORD = "plain.json"
_MOST = 100  # sources in the record
_SHAPE = Table(Text(most=1000), keys=Text(r"[0-9a-f]{40,64}", most=64), most=_MOST)


@dataclasses.dataclass(frozen=True)
class Recipe:
    """The settings of a compilation: parallel ``jobs``, files per ``batch`` (0: none), ``light`` (-O1 outside ggml)."""

    jobs: int
    batch: int = 0
    light: bool = False

    @property
    def plain(self) -> bool:
        return not self.batch and not self.light

    def plainly(self) -> Recipe:
        """Return the recipe that compiles as llama.cpp's own CMake files say."""
        return Recipe(self.jobs)


def choose(requested: int, cores: int, memory: int, cuda: bool, plain: bool) -> Recipe:
    """Return the recipe for this host. ``requested`` jobs are kept; ``memory`` in bytes is 0 if unknown."""
    each = _CUDA_JOB if cuda else _PLAIN_JOB
    jobs = job_count(requested, cores, memory, each)
    if plain:
        return Recipe(jobs)
    batch = next((size for most, size in _SIZES if jobs <= most), 0)
    batched = job_count(requested, cores, memory, max(each, _BATCH_JOB))
    fits = memory <= 0 or batched * _BATCH_JOB <= memory
    if not batch or not fits or batched < jobs * _WORTH:
        return Recipe(jobs, light=True)
    return Recipe(batched, batch, light=True)


def chosen_by_user(options: typing.Iterable[str]) -> bool:
    """Return whether the user's CMake options say how to optimize or to batch."""
    return any(_OWN.fullmatch(name) for name in options)


def refusal(builds: pathlib.Path, source: str) -> str:
    """Return the error with which ``source`` (a commit or SHA-256) refused this recipe before; empty if it did not."""
    known: dict[str, str] = read_json(builds / _RECORD, _SHAPE) or {}
    return known.get(source, "")


def remember_refusal(builds: pathlib.Path, source: str, error: str) -> None:
    """Record that ``source`` compiles only plainly, so that later builds of it do not try anything else."""
    known: dict[str, str] = read_json(builds / _RECORD, _SHAPE) or {}
    kept = list(known.items())[1 - _MOST :]
    write_json(builds / _RECORD, {**dict(kept), source: error[:1000]})


def script(recipe: Recipe, cures: typing.Sequence[Cure], headers: typing.Mapping[str, pathlib.Path]) -> str:
    """Return the CMake script that adjusts the targets after llama.cpp has declared all of them.

    ``headers`` has the file of each cure with a header, by the cure's name.
    """
    cure_lines = [
        f'if(target STREQUAL "ggml-cpu" OR "${{options}} ${{CMAKE_C_FLAGS}} ${{CMAKE_CXX_FLAGS}}" MATCHES '
        f'"{cure.targets}")\n        target_compile_options(${{target}} PRIVATE {_additions(cure, headers)})\n'
        "      endif()"
        for cure in cures
    ]
    cured = "\n      ".join(cure_lines)
    light = '"$<$<COMPILE_LANGUAGE:CXX>:-O1>"' if recipe.light else ""
    return (
        _SCRIPT.replace("@CURES@", cured)
        .replace("@LIGHT@", f"target_compile_options(${{target}} PRIVATE {light})" if light else "")
        .replace("@BATCHED@", "|".join(_BATCHED))
        .replace("@BATCH@", str(recipe.batch))
        .replace("@APART@", _APART)
    )


def _additions(cure: Cure, headers: typing.Mapping[str, pathlib.Path]) -> str:
    words = [f'"$<$<COMPILE_LANGUAGE:C,CXX>:{";".join(cure.flags)}>"'] if cure.flags else []
    if cure.name in headers:
        words.append(f'"$<$<COMPILE_LANGUAGE:CXX>:SHELL:-include \\"{headers[cure.name]}\\">"')
    return " ".join(words)


_SCRIPT = """function(llama_fleet_adjust folder)
  get_property(targets DIRECTORY "${folder}" PROPERTY BUILDSYSTEM_TARGETS)
  foreach(target IN LISTS targets)
    get_target_property(type ${target} TYPE)
    get_target_property(options ${target} COMPILE_OPTIONS)
    get_target_property(files ${target} SOURCES)
    get_target_property(place ${target} SOURCE_DIR)
    if(NOT type MATCHES "^(STATIC_LIBRARY|SHARED_LIBRARY|MODULE_LIBRARY|OBJECT_LIBRARY|EXECUTABLE)$")
      continue()
    endif()
    if(target MATCHES "^ggml-cpu")
      @CURES@
    endif()
    if(NOT target MATCHES "^ggml")
      @LIGHT@
    endif()
    if(@BATCH@ AND target MATCHES "^(@BATCHED@)$")
      set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_MODE BATCH UNITY_BUILD_BATCH_SIZE @BATCH@)
      list(FILTER files INCLUDE REGEX "(^|/)@APART@$")
      foreach(file IN LISTS files)
        cmake_path(ABSOLUTE_PATH file BASE_DIRECTORY "${place}")
        set_source_files_properties("${file}" TARGET_DIRECTORY ${target} PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
      endforeach()
    endif()
  endforeach()
  get_property(below DIRECTORY "${folder}" PROPERTY SUBDIRECTORIES)
  foreach(one IN LISTS below)
    llama_fleet_adjust("${one}")
  endforeach()
endfunction()
cmake_language(DEFER CALL llama_fleet_adjust "${CMAKE_CURRENT_SOURCE_DIR}")
"""
