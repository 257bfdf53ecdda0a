# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test a real CUDA toolkit from NVIDIA's wheels, on a machine without a GPU."""

from __future__ import annotations

import os
import pathlib
import platform
import re
import shutil
import subprocess
import tempfile
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.cuda import plan as cuda
from ansible_collections.llama_fleet.core.plugins.module_utils.cuda import trial as cuda_proof
from ansible_collections.llama_fleet.core.plugins.module_utils.cuda import wheels as cuda_wheels
from ansible_collections.llama_fleet.core.plugins.module_utils.cuda.releases import RELEASES
from ansible_collections.llama_fleet.core.plugins.module_utils.host import commands
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.tools import venv as tools_venv
from ansible_collections.llama_fleet.core.plugins.module_utils.tools.build_pins import PINS
from tests.cuda.case import Returned, ansible, run

pytestmark = pytest.mark.e2e
NEWEST = next(iter(RELEASES.values()))
# No server listens there, so a request to an index fails.
NO_INDEX = "http://127.0.0.1:9/simple"
PROJECT = """\
cmake_minimum_required(VERSION 3.18)
project(find LANGUAGES CXX)
find_package(CUDAToolkit REQUIRED)
foreach(name cudart cublas cublasLt nvrtc)
  get_target_property(place CUDA::${name} IMPORTED_LOCATION)
  message(STATUS "${name} is ${place}")
endforeach()
message(STATUS "version is ${CUDAToolkit_VERSION}")
"""


def host() -> cuda.ToolkitHost:
    return cuda.ToolkitHost(commands.run, platform.machine(), tuple(os.environ["PATH"].split(":")))


def test_the_newest_toolkit_is_there_and_says_what_it_is(root: pathlib.Path, toolkit: Returned) -> None:
    path = root / f"toolkits/cuda-{NEWEST.version}"
    assert {name: toolkit[name] for name in ("path", "version", "origin")} == {
        "path": str(path),
        "version": NEWEST.version,
        "origin": "installed",
    }
    assert (
        toolkit["nvcc"]
        == subprocess.run(
            [path / "bin/nvcc", "--version"], capture_output=True, text=True, check=True
        ).stdout.splitlines()[3]
    )
    assert (pathlib.Path(toolkit["include"]) / "cuda_runtime.h").is_file()
    assert (pathlib.Path(toolkit["library"]) / "libcublasLt.so").is_file()
    assert {project: pin["sha256"] for project, pin in cuda_wheels.manifest_of(path)["wheels"].items()} == {
        wheel.project: wheel.sha256[platform.machine()] for wheel in NEWEST.wheels
    }


def test_the_table_of_architectures_is_what_nvcc_lists(toolkit: Returned) -> None:
    listed = subprocess.run(
        [f"{toolkit['path']}/bin/nvcc", "--list-gpu-arch"], capture_output=True, text=True, check=True
    ).stdout
    assert set(re.findall(r"compute_(\d+)", listed)) == set(NEWEST.architectures)


def test_nvcc_compiles_and_links_the_proof(root: pathlib.Path, toolkit: Returned) -> None:
    found = cuda.Toolkit(pathlib.Path(toolkit["path"]), toolkit["version"])
    cuda_proof.prove(found, cuda.Wanted(root, architectures=("90-real",)), host())
    with pytest.raises(ProblemError, match=r"which cannot build a small program: nvcc fatal.*sm_35"):
        cuda_proof.prove(found, cuda.Wanted(root, architectures=("35-real",)), host())


def test_cmake_finds_it_all(root: pathlib.Path, toolkit: Returned, tmp_path: pathlib.Path) -> None:
    tools_venv.ensure_tools(root, tools_venv.BUILD_TOOLS, PINS)
    (tmp_path / "CMakeLists.txt").write_text(PROJECT, encoding="utf-8")
    tools = tools_venv.folder(root) / "bin"
    command = [
        str(tools / "cmake"),
        "-G",
        "Ninja",
        f"-DCMAKE_MAKE_PROGRAM={tools / 'ninja'}",
        f"-DCUDAToolkit_ROOT={toolkit['path']}",
        "-S",
        str(tmp_path),
    ]
    done = subprocess.run([*command, "-B", str(tmp_path / "build")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said = dict(re.findall(r"^-- (\w+) is (\S+)$", done.stdout, re.MULTILINE))
    library = pathlib.Path(toolkit["path"]).resolve() / "lib"
    version = said.pop("version")
    assert {name: pathlib.Path(place).resolve().parent for name, place in said.items()} == dict.fromkeys(
        ("cudart", "cublas", "cublasLt", "nvrtc"), library
    )
    assert version.startswith(NEWEST.version.rpartition(".")[0])


def test_a_second_run_changes_nothing_and_asks_no_index(root: pathlib.Path, toolkit: Returned) -> None:
    again = ansible(
        "cuda_toolkit", root=str(root), driver_version="580.95.05", architectures=["90-real"], index_url=NO_INDEX
    )
    assert again["changed"] is False
    assert {name: again[name] for name in ("path", "nvcc", "library")} == {
        name: toolkit[name] for name in ("path", "nvcc", "library")
    }


@pytest.fixture
def copy(root: pathlib.Path, toolkit: Returned) -> typing.Iterator[pathlib.Path]:
    """Make hard links to the toolkit below another root."""
    with tempfile.TemporaryDirectory(dir=root, prefix="copy-") as folder:
        target = pathlib.Path(folder) / "toolkits" / pathlib.Path(toolkit["path"]).name
        shutil.copytree(toolkit["path"], target, symlinks=True, copy_function=os.link)
        yield pathlib.Path(folder)


def test_absent_removes_it_once_and_only_there(copy: pathlib.Path, toolkit: Returned) -> None:
    there = copy / "toolkits" / pathlib.Path(toolkit["path"]).name
    checked = run(copy, check_mode=True, state="absent")
    assert (checked["changed"], checked["diff"]["before"]) == (True, f"{there}\n")
    assert (there / "bin/nvcc").exists()
    removed = run(copy, state="absent")
    assert (removed["changed"], removed["removed"]) == (True, [str(there)])
    assert not there.exists()
    assert run(copy, state="absent")["changed"] is False
    assert (pathlib.Path(toolkit["path"]) / "lib/libcublas.so").is_file()
