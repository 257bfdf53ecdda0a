# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""CMake options and CPUs to build for, as the module llama_cpp_release takes them."""

from __future__ import annotations

import pathlib
import platform
import subprocess

import pytest

from ansible_collections.llama_fleet.core.tests.unit.fakes.build_host import NEEDS_BUILD, Host

pytestmark = NEEDS_BUILD


@pytest.fixture
def host(tmp_path: pathlib.Path) -> Host:
    return Host(tmp_path)


def test_an_unknown_option_is_told_with_its_neighbours_before_anything_is_compiled(host: Host) -> None:
    failed = host.run(
        cmake_options={
            "GGML_LT0": True,
            "GGML_CUDA_DEPTH": 3,
            "CMAKE_CUDA_FLAGS": "-G",
            "LLAMA_BYGONE": True,
            "CMAKE_FOO": 1,
        }
    )
    assert [problem["subject"] for problem in failed["problems"]] == ["llama_cpp_cmake_options"] * 3
    assert ", found CMAKE_FOO, which this source does not know" in failed["msg"]
    assert "expected an option of it; the nearest are GGML_LTO, " in failed["msg"]
    assert ", found GGML_LT0, which this source does not know." in failed["msg"]
    assert "expected options that it supports, found LLAMA_BYGONE, which this source ignores" in failed["msg"]
    log = next((host.root / "builds").glob("*.log")).read_text(encoding="utf-8")
    assert "not used by the project" in log
    assert "Building CXX" not in log
    assert not list((host.root / "releases").glob("*"))


def bench(path: pathlib.Path) -> str:
    """Return the CPU features that the stand-in for llama-bench was compiled for, or the variant that it loaded."""
    done = subprocess.run([path / "bin" / "llama-bench"], check=True, cwd="/", capture_output=True, encoding="utf-8")
    return done.stderr.partition("features: ")[2].strip()


@pytest.mark.skipif(
    " fma " not in pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8"), reason="needs a CPU with FMA"
)
def test_only_the_features_that_are_named_are_used(host: Host) -> None:
    made = host.run(cpu="fma")
    assert bench(pathlib.Path(made["path"])) == "fma"
    assert made["fingerprint_parts"]["cpu_features"] == ""
    assert host.run(cpu="FMA")["changed"] is False


@pytest.mark.parametrize("amx", [False, True])
def test_a_portable_release_finds_its_variants_and_those_with_amx_are_cured(host: Host, amx: bool) -> None:
    if amx and platform.machine() != "x86_64":
        pytest.skip("AMX is a matter of x86-64")
    made = host.run(cpu="portable", cmake_options={"FAKE_AMX": amx})
    moved = host.folder / "elsewhere"
    pathlib.Path(made["path"]).rename(moved)
    assert bench(moved) == "sapphirerapids"
    assert {"libggml-cpu-sapphirerapids.so", "libggml-cpu-x64.so"} <= {path.name for path in (moved / "bin").iterdir()}
    log = next((host.root / "builds").glob("*.log")).read_text(encoding="utf-8")
    compiled = [
        log.count(f"Building CXX object ggml/CMakeFiles/ggml-cpu-{name}.dir") for name in ("sapphirerapids", "x64")
    ]
    assert compiled == [2 if amx else 1, 1], "the cure leaves alone what needs none"
    # GCC may be cured for the hosts that have AMX. The smoke test has the last word.
    cures = [["no-amx"]] if amx else [[], ["amx-shim"]]
    assert (made["cured"] in cures, made["fingerprint_parts"]["cpu_features"]) == (True, "")
