# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""A CMake project shaped like llama.cpp that compiles in a second, and what tests need around it.

CMake options make it misbehave: ``FAKE_BROKEN`` does not compile, ``FAKE_AMX`` dies by an illegal
instruction unless compiled without AMX, ``FAKE_MUTE`` decodes nothing, ``FAKE_CLASH`` compiles only
file by file, ``FAKE_GATE`` names a file that the build waits for to go away. As in llama.cpp
``GGML_CUDA_DEPTH`` is asked for by the CUDA backend alone, ``LLAMA_BYGONE`` is ignored, and every
name that begins with GGML_ is looked at.
"""

from __future__ import annotations

import hashlib
import os
import pathlib
import shutil
import sys
import tarfile
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.host.files import write_json
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.compile import Compilation
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.recipe import Recipe
from ansible_collections.llama_fleet.core.plugins.module_utils.tools import venv as tools_venv

_FILES = {
    "LICENSE": "Permission is granted.\n",
    "CMakeLists.txt": """
cmake_minimum_required(VERSION 3.14)
project("llama.cpp" C CXX)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
set(CMAKE_LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
if(LLAMA_BYGONE)
  message(WARNING "LLAMA_BYGONE is deprecated and will be ignored")
endif()
add_subdirectory(ggml)
add_subdirectory(common)
add_subdirectory(tools/server)
""",
    "common/CMakeLists.txt": """
add_library(llama-common STATIC one.cpp two.cpp)
add_library(mtmd STATIC mtmd.cpp mtmd-helper.cpp)
if(FAKE_CLASH)
  target_compile_definitions(llama-common PRIVATE FAKE_CLASH)
endif()
""",
    "common/one.cpp": "static int number() { return 1; }\nint one() { return number(); }\n",
    "common/two.cpp": """
#ifdef FAKE_CLASH
static int number() { return 2; }
int two() { return number(); }
#else
int two() { return 2; }
#endif
""",
    "common/mtmd.cpp": "static int number() { return 3; }\nint mtmd() { return number(); }\n",
    "common/mtmd-helper.cpp": "static int number() { return 4; }\nint helper() { return number(); }\n",
    "ggml/CMakeLists.txt": """
option(GGML_NATIVE "for this CPU" ON)
option(GGML_LTO "optimise when linking" OFF)
option(GGML_CUDA "for NVIDIA" OFF)
option(GGML_BACKEND_DL "load backends when they are needed" OFF)
option(GGML_CPU_ALL_VARIANTS "for every CPU" OFF)
foreach(feature AVX2 FMA AVX512)
  option(GGML_${feature} "use it" ON)
endforeach()
get_cmake_property(names VARIABLES)
foreach(name IN LISTS names)
  if(name MATCHES "^GGML_")
    string(APPEND settings "${${name}} ")
  endif()
endforeach()
if(GGML_CUDA)
  message(STATUS "depth ${GGML_CUDA_DEPTH}")
endif()
function(add_cpu_backend name kind)
  add_library(${name} ${kind} ggml-cpu.cpp)
  set_target_properties(${name} PROPERTIES VERSION 0.1.0 SOVERSION 0)
  target_compile_options(${name} PRIVATE ${ARGN})
  if(FAKE_BROKEN)
    target_compile_definitions(${name} PRIVATE FAKE_BROKEN)
  endif()
endfunction()
if(FAKE_AMX)
  set(amx -mamx-tile)
endif()
if(GGML_CPU_ALL_VARIANTS)
  add_cpu_backend(ggml-cpu-sapphirerapids MODULE ${amx})
  add_cpu_backend(ggml-cpu-x64 MODULE)
else()
  if(NOT GGML_NATIVE AND CMAKE_SYSTEM_PROCESSOR STREQUAL x86_64)
    foreach(feature AVX2 FMA)
      if(GGML_${feature})
        string(TOLOWER -m${feature} flag)
        list(APPEND flags ${flag})
      endif()
    endforeach()
    if(GGML_AVX512)
      list(APPEND flags -mavx512f)
    endif()
  endif()
  add_cpu_backend(ggml-cpu SHARED ${flags} ${amx})
endif()
""",
    "ggml/ggml-cpu.cpp": """
#ifdef FAKE_BROKEN
int broken = missing_name;
#endif
extern "C" int decode(int tokens) {
#ifdef __AMX_TILE__
    __builtin_trap();
#endif
    return tokens;
}
extern "C" const char * features() {
    return ""
#ifdef __AVX2__
        "avx2 "
#endif
#ifdef __FMA__
        "fma "
#endif
#ifdef __AVX512F__
        "avx512 "
#endif
        ;
}
""",
    "tools/server/CMakeLists.txt": """
foreach(name llama-server llama-fit-params llama-gguf-split llama-bench)
  if(name STREQUAL llama-bench)
    add_executable(${name} bench.cpp)
  else()
    add_executable(${name} main.cpp)
  endif()
  target_link_libraries(${name} PRIVATE llama-common mtmd)
  if(GGML_BACKEND_DL)
    target_sources(${name} PRIVATE load.cpp)
    target_link_libraries(${name} PRIVATE ${CMAKE_DL_LIBS})
    add_dependencies(${name} ggml-cpu-sapphirerapids ggml-cpu-x64)
  else()
    target_link_libraries(${name} PRIVATE ggml-cpu)
  endif()
endforeach()
if(FAKE_MUTE)
  target_compile_definitions(llama-bench PRIVATE FAKE_MUTE)
endif()
if(FAKE_GATE)
  add_custom_target(gate COMMAND
    sh -c "n=0; while test -e '${FAKE_GATE}' && test $n -lt 3000; do sleep 0.1; n=$((n+1)); done" VERBATIM)
  add_dependencies(llama-bench gate)
endif()
""",
    "tools/server/load.cpp": """
#include <dlfcn.h>
#include <string>
#include <unistd.h>
static const char * loaded = "nothing";
extern "C" const char * features() { return loaded; }
extern "C" int decode(int tokens) {
    char path[4096];
    std::string folder(path, readlink("/proc/self/exe", path, sizeof(path)));
    folder.erase(folder.rfind('/') + 1);
    for (const char * name : { "sapphirerapids", "x64" }) {
        void * library = dlopen((folder + "libggml-cpu-" + name + ".so").c_str(), RTLD_NOW);
        if (library) {
            loaded = name;
            return reinterpret_cast<int (*)(int)>(dlsym(library, "decode"))(tokens);
        }
    }
    return 0;
}
""",
    "tools/server/main.cpp": """
#include <cstdio>
extern "C" int decode(int tokens);
int main(int count, char **) {
    if (count > 1) {
        std::puts("-c,    --ctx-size N                      size of the context\\n"
                  "                                         (env: LLAMA_ARG_CTX_SIZE)");
    }
    return decode(0);
}
""",
    "tools/server/bench.cpp": """
#include <cstdio>
extern "C" int decode(int tokens);
extern "C" const char * features();
int main() {
#ifndef FAKE_MUTE
    int tokens = decode(32);
    std::printf("[{\\"n_prompt\\": %d, \\"n_gen\\": 0, \\"avg_ts\\": 90.5}, "
                "{\\"n_prompt\\": 0, \\"n_gen\\": 4, \\"avg_ts\\": 11.25}]", tokens);
    std::fprintf(stderr, "features: %s\\n", features());
#endif
    return 0;
}
""",
    "vendor/cpp-httplib/LICENSE": "The MIT License (MIT)\n",
    "vendor/stb/stb_image.h": (
        "int x;\n/*\nALTERNATIVE A - MIT License\nPermission is hereby granted, free of charge.\n*/\n"
    ),
    "licenses/LICENSE-jsonhpp": "MIT License\n",
}


def missing_tools() -> list[str]:
    """Return the programs that a build needs and that are not on PATH."""
    return [name for name in ("cmake", "ninja", "g++") if shutil.which(name) is None]


def write_project(folder: pathlib.Path) -> None:
    """Write the source tree to ``folder``."""
    for name, text in _FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def pack_project(
    folder: pathlib.Path, name: str = "fake-llama-1234.tar.gz", below: str = "fake-llama/vendor/llama.cpp"
) -> str:
    """Pack the source tree into ``folder``/``name``, as a source distribution would; returns ``path#sha256=…``."""
    tree = folder / "tree"
    write_project(tree / below)
    archive = folder / name
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(tree, arcname=".")
    return f"{archive}#sha256={hashlib.sha256(archive.read_bytes()).hexdigest()}"


def provide_tools(root: pathlib.Path) -> None:
    """Make ``root`` look as if the build tools had been installed below it: links to those on PATH."""
    programs = tools_venv.folder(root) / "bin"
    programs.mkdir(parents=True)
    (programs / "python").symlink_to(os.path.realpath(sys.executable))
    for name in ("cmake", "ninja"):
        (programs / name).symlink_to(str(shutil.which(name)))
    stamp = {
        "python": os.path.realpath(sys.executable),
        "requirements": [*tools_venv.BUILD_TOOLS, *tools_venv.COMPILER_CACHE],
    }
    write_json(tools_venv.folder(root) / tools_venv.STAMP, stamp)


def compilation(**changes: typing.Any) -> Compilation:
    """Return a compilation below /w, with some fields changed."""
    values: dict[str, typing.Any] = {
        "work": pathlib.Path("/w"),
        "log": pathlib.Path("/w.log"),
        "tools": pathlib.Path("/v/bin"),
        "compiler": "/usr/bin/c++",
        "options": {"A": "1"},
        "recipe": Recipe(3),
    }
    return Compilation(**{**values, **changes})
