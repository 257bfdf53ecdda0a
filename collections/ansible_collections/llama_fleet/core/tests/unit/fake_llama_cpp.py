# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""A CMake project shaped like llama.cpp that compiles in a second, and what tests need around it.

CMake options make it misbehave: ``FAKE_BROKEN`` does not compile, ``FAKE_AMX`` dies by an illegal
instruction unless compiled without AMX, ``FAKE_MUTE`` decodes nothing, ``FAKE_GATE`` names a file
that the build waits for to go away.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tarfile
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils import tools_venv
from ansible_collections.llama_fleet.core.plugins.module_utils.files import write_json

if typing.TYPE_CHECKING:
    import pathlib

_FILES = {
    "LICENSE": "Permission is granted.\n",
    "CMakeLists.txt": """
cmake_minimum_required(VERSION 3.14)
project("llama.cpp" C CXX)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
set(CMAKE_LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
add_subdirectory(ggml)
add_subdirectory(tools/server)
""",
    "ggml/CMakeLists.txt": """
add_library(ggml-cpu SHARED ggml-cpu.cpp)
set_target_properties(ggml-cpu PROPERTIES VERSION 0.1.0 SOVERSION 0)
if(FAKE_AMX)
  target_compile_options(ggml-cpu PRIVATE -mamx-tile)
endif()
if(FAKE_BROKEN)
  target_compile_definitions(ggml-cpu PRIVATE FAKE_BROKEN)
endif()
""",
    "ggml/ggml-cpu.cpp": """
#ifdef FAKE_BROKEN
int broken = missing_name;
#endif
int decode(int tokens) {
#ifdef __AMX_TILE__
    __builtin_trap();
#endif
    return tokens;
}
""",
    "tools/server/CMakeLists.txt": """
foreach(name llama-server llama-fit-params llama-gguf-split)
  add_executable(${name} main.cpp)
  target_link_libraries(${name} PRIVATE ggml-cpu)
endforeach()
add_executable(llama-bench bench.cpp)
target_link_libraries(llama-bench PRIVATE ggml-cpu)
if(FAKE_MUTE)
  target_compile_definitions(llama-bench PRIVATE FAKE_MUTE)
endif()
if(FAKE_GATE)
  add_custom_target(gate COMMAND sh -c "while test -e '${FAKE_GATE}'; do sleep 0.1; done" VERBATIM)
  add_dependencies(llama-bench gate)
endif()
""",
    "tools/server/main.cpp": """
int decode(int tokens);
int main() { return decode(0); }
""",
    "tools/server/bench.cpp": """
#include <cstdio>
int decode(int tokens);
int main() {
#ifndef FAKE_MUTE
    std::printf("[{\\"n_prompt\\": %d, \\"n_gen\\": 0, \\"avg_ts\\": 90.5}, {\\"n_prompt\\": 0, \\"n_gen\\": 4, \\"avg_ts\\": 11.25}]", decode(32));
#endif
    return 0;
}
""",
}


def missing_tools() -> list[str]:
    """The programs that compiling it needs and that are not on PATH."""
    return [name for name in ("cmake", "ninja", "g++") if shutil.which(name) is None]


def write_project(folder: pathlib.Path) -> None:
    """Write the source tree to ``folder``."""
    for name, text in _FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def pack_project(folder: pathlib.Path, name: str = "fake-llama-1234.tar.gz", below: str = "fake-llama/vendor/llama.cpp") -> str:
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
    stamp = {"python": os.path.realpath(sys.executable), "requirements": list(tools_venv.BUILD_TOOLS)}
    write_json(tools_venv.folder(root) / tools_venv.STAMP, stamp)
