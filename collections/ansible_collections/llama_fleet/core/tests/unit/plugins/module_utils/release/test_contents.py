# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import pathlib
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import Result
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.release.contents import copy_licences, server_options
from ansible_collections.llama_fleet.core.tests.unit.fakes.runner import FakeRunner

MIT = "Permission is hereby granted, free of charge, to any person"
SOURCE = {
    "LICENSE": "llama.cpp's",
    "README.md": "no terms",
    "licenses/LICENSE-jsonhpp": "nlohmann's",
    "licenses/notes.md": "no terms",
    "vendor/cpp-httplib/LICENSE": "httplib's",
    "vendor/cpp-httplib/httplib.h": f"/* {MIT} */\n",
    "vendor/hash/sha256/LICENCE.md": "sha256's",
    "vendor/hash/sha1/sha1.c": "/*\nBy Steve\n100% Public Domain\n*/\nint x;\n",
    "vendor/stb/stb_image.h": f"/* how to use it */\nint x;\n/*\nALTERNATIVE A\n{MIT}\n*/\n",
    "vendor/nlohmann/json.hpp": "// SPDX-License-Identifier: MIT\nint x;\n",
    "ggml/src/ggml-cpu/llamafile/sgemm.cpp": f"// Copyright Mozilla\n//\n// {MIT}\n\n#include <x>\n// not terms\n",
    "ggml/src/ggml-cpu/ops.cpp": "// adds two tensors\n",
    "tools/ui/LICENSE": "of what is not built",
}


def write(folder: pathlib.Path, files: typing.Mapping[str, str]) -> pathlib.Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def texts(folder: pathlib.Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_text(encoding="utf-8") for path in folder.rglob("*") if path.is_file()
    }


def test_licences_of_all_that_is_linked_in(tmp_path: pathlib.Path) -> None:
    staged = tmp_path / "staged"
    copy_licences(write(tmp_path / "source", SOURCE), staged)
    assert texts(staged / "licenses" / "llama.cpp") == {
        "LICENSE": "llama.cpp's",
        "licenses/LICENSE-jsonhpp": "nlohmann's",
        "vendor/cpp-httplib/LICENSE": "httplib's",
        "vendor/hash/sha256/LICENCE.md": "sha256's",
        "vendor/hash/sha1/sha1.c.txt": "/*\nBy Steve\n100% Public Domain\n*/\n",
        "vendor/stb/stb_image.h.txt": f"/*\nALTERNATIVE A\n{MIT}\n*/\n",
        "ggml/src/ggml-cpu/llamafile/sgemm.cpp.txt": f"// Copyright Mozilla\n//\n// {MIT}\n",
    }


def test_licences_of_the_libraries_that_come_along(tmp_path: pathlib.Path) -> None:
    toolkit = write(
        tmp_path / "toolkit",
        {"licenses/nvidia_cublas/License.txt": "cuBLAS'", "EULA.txt": "NVIDIA's", "version.json": "{}"},
    )
    documents = write(tmp_path / "doc", {"libgomp1/copyright": "GCC's"})
    staged = write(tmp_path / "staged", {"bin/llama-server": "x"})
    copy_licences(tmp_path / "source", staged, toolkit, documents)
    assert texts(staged / "licenses") == {"cuda/nvidia_cublas/License.txt": "cuBLAS'", "cuda/EULA.txt": "NVIDIA's"}
    write(staged, {"bin/libgomp.so.1": "x"})
    copy_licences(tmp_path / "source", staged, None, documents)
    assert texts(staged / "licenses")["openmp/copyright"] == "GCC's"


HELP = """----- common params -----

-h,    --help, --usage                  print usage and exit
-c,    --ctx-size N                     size of the prompt context
                                        (env: LLAMA_ARG_CTX_SIZE)
--mlock                                 the argument has been removed. use --load-mode
                                        (env: LLAMA_ARG_MLOCK)
"""


def test_what_the_server_knows() -> None:
    run = FakeRunner(Result(0, HELP, ""))
    assert server_options(pathlib.Path("/r/bin"), run) == {
        "flags": ["--ctx-size", "--help", "--usage", "-c", "-h"],
        "environments": ["LLAMA_ARG_CTX_SIZE"],
        "details": [
            {"names": ["-h", "--help", "--usage"]},
            {"names": ["-c", "--ctx-size"], "value": "N", "environment": "LLAMA_ARG_CTX_SIZE"},
            {"names": ["--mlock"], "environment": "LLAMA_ARG_MLOCK", "removed": True, "advice": "use --load-mode"},
        ],
    }
    assert run.commands == [["/r/bin/llama-server", "--help"]]


@pytest.mark.parametrize(
    ("said", "shown"),
    [("llama-server: error while loading shared libraries: libssl.so.3: x", "libssl.so.3"), ("", "exit code 127")],
)
def test_a_server_that_does_not_start(said: str, shown: str) -> None:
    with pytest.raises(ProblemError, match=f"release: expected .*, found '.*{shown}.*' from llama-server --help"):
        server_options(pathlib.Path("/r/bin"), FakeRunner(Result(127, "", said)))
