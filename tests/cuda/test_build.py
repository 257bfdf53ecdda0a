# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test a CUDA release built without a GPU: it is complete, and says so if there is no driver."""

from __future__ import annotations

import json
import os
import pathlib
import re
import shutil
import struct
import subprocess
import tempfile
import typing

import pytest

pytestmark = pytest.mark.e2e
PROGRAMS = ("llama-server", "llama-bench", "llama-fit-params", "llama-gguf-split")
# Libraries of the driver: the only ones that may be missing on a machine without one.
OF_THE_DRIVER = {"libcuda.so.1", "libnvidia-ml.so.1"}
Manifest = dict[str, typing.Any]
# The first bytes of a fat binary, and the kind of its parts.
FAT = struct.pack("<I", 0xBA55ED50)
MACHINE_CODE = 2  # 1 would be PTX


def output(*command: str | pathlib.Path, env: typing.Mapping[str, str] | None = None) -> str:
    """Return what a command prints, including errors, whatever its exit status."""
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C", **(env or {})}
    return subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=120
    ).stdout


@pytest.fixture(scope="module")
def built(root: pathlib.Path) -> pathlib.Path:
    """Return the newest release below the root."""
    manifest = max(root.glob("releases/*/manifest.json"), key=lambda file: file.stat().st_mtime)
    return manifest.parent


@pytest.fixture(scope="module")
def programs(root: pathlib.Path, built: pathlib.Path) -> typing.Iterator[pathlib.Path]:
    """Make the release's programs elsewhere (by hard links), as if it came from another host."""
    with tempfile.TemporaryDirectory(dir=root, prefix="elsewhere-") as folder:
        yield pathlib.Path(
            shutil.copytree(built / "bin", pathlib.Path(folder) / "bin", symlinks=True, copy_function=os.link)
        )


def test_it_is_for_cuda_and_for_what_was_asked(built: pathlib.Path) -> None:
    manifest: Manifest = json.loads((built / "manifest.json").read_text(encoding="utf-8"))
    parts = manifest["fingerprint_parts"]
    assert (manifest["backend"], parts["cuda_architectures"], parts["cmake_options"]["GGML_CUDA_FA"]) == (
        "cuda",
        ["90-real"],
        "OFF",
    )
    assert parts["cuda_toolkit"]
    assert manifest["smoke_test"]["cpu"]["generation"] > 0


def test_every_library_is_found_in_the_release_itself(programs: pathlib.Path) -> None:
    files = [*(programs / name for name in PROGRAMS), *programs.glob("lib*.so*")]
    linked = dict(
        pair
        for file in files
        for pair in re.findall(r"^\s+(\S+) => (not found|\S+)", output("ldd", file), re.MULTILINE)
    )
    assert {name for name, place in linked.items() if place == "not found"} <= OF_THE_DRIVER
    own = {name for name, place in linked.items() if pathlib.Path(place).parent == programs}
    assert {re.sub(r"\.so.*", "", name) for name in own} >= {
        "libggml-cuda",
        "libggml-base",
        "libllama",
        "libcudart",
        "libcublas",
        "libcublasLt",
    }
    foreign = {name: place for name, place in linked.items() if name not in own and place != "not found"}
    assert all(place.startswith(("/lib", "/usr/lib")) for place in foreign.values()), foreign


def test_what_was_linked_here_looks_beside_itself(programs: pathlib.Path) -> None:
    for name in (*PROGRAMS, "libggml-cuda.so"):
        shown = output("readelf", "-d", programs / name)
        assert re.findall(r"\((?:RUNPATH|RPATH)\).*\[(.*)\]", shown) == ["$ORIGIN"], name
    needed = re.findall(r"\(NEEDED\).*\[(.*)\]", output("readelf", "-d", programs / "libggml-cuda.so"))
    assert {"libcudart", "libcublas"} <= {name.partition(".so")[0] for name in needed}
    assert "libcuda.so.1" not in needed


def parts_of_fat_binaries(content: bytes) -> typing.Iterator[tuple[int, int]]:
    """Yield kind and architecture of every part of the fat binaries in a library."""
    for found in re.finditer(re.escape(FAT), content):
        _version, header, size = struct.unpack_from("<HHQ", content, found.start() + 4)
        place = found.start() + header
        end = place + size
        while place < end:
            kind, _version, header, size = struct.unpack_from("<HHIQ", content, place)
            yield kind, struct.unpack_from("<I", content, place + 28)[0]
            place += header + size


def test_it_holds_machine_code_for_the_gpu_and_no_ptx(programs: pathlib.Path) -> None:
    parts = list(parts_of_fat_binaries((programs / "libggml-cuda.so").read_bytes()))
    assert len(parts) > 50
    assert set(parts) == {(MACHINE_CODE, 90)}


@pytest.mark.skipif(pathlib.Path("/dev/nvidiactl").exists(), reason="there is a GPU here")
def test_without_a_driver_it_says_so_and_lists_no_device(programs: pathlib.Path) -> None:
    said = output(programs / "llama-server", "--list-devices")
    assert re.search("driver version is insufficient|no CUDA-capable device|failed to initialize CUDA", said), said
    assert "CUDA0" not in said
    refused = output(programs / "llama-server", "--list-devices", env={"LLAMA_ARG_DEVICE": "CUDA0"})
    assert re.search("invalid device: CUDA0", refused), refused
