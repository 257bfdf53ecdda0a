# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test choosing a toolkit on a host that is a folder with toolkits, whose nvcc is a script."""

from __future__ import annotations

import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.cuda import plan as cuda
from ansible_collections.llama_fleet.core.plugins.module_utils.cuda import trial as cuda_proof
from ansible_collections.llama_fleet.core.plugins.module_utils.cuda.releases import RELEASES
from ansible_collections.llama_fleet.core.plugins.module_utils.host import commands, files
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError
from ansible_collections.llama_fleet.core.tests.unit.fakes.cuda_host import CUDA_12, CUDA_13, add_toolkit

if typing.TYPE_CHECKING:
    import pathlib


pytestmark = pytest.mark.usefixtures("plenty_of_space")


def problems_of(wanted: cuda.Wanted, host: cuda.ToolkitHost) -> tuple[Problem, ...]:
    with pytest.raises(ProblemError) as raised:
        cuda.make_plan(wanted, host)
    return raised.value.problems


def test_the_newest_toolkit_that_the_driver_runs_is_found(tmp_path: pathlib.Path, host: cuda.ToolkitHost) -> None:
    for version in ("12.4.131", "12.10.20", "13.0.88"):
        add_toolkit(host.root / f"usr/local/cuda-{version[:4]}", version)
    (host.root / "usr/local/cuda").symlink_to("cuda-13.0")
    newest = cuda.make_plan(cuda.Wanted(tmp_path, driver_version="580.95.05"), host)
    assert (newest.toolkit.version, newest.origin, newest.release) == ("13.0.88", "found", None)
    assert newest.toolkit.path.name == "cuda-13.0"  # not the link, which changes under a build
    assert cuda.make_plan(cuda.Wanted(tmp_path, driver_version="550.54.14"), host).toolkit.version == "12.10.20"
    assert cuda.make_plan(cuda.Wanted(tmp_path), host).toolkit.version == "13.0.88"


def test_a_toolkit_on_path_is_found_through_its_link(tmp_path: pathlib.Path, host: cuda.ToolkitHost) -> None:
    add_toolkit(host.root / "opt/nvidia/cuda", "12.8.93")
    (host.root / "usr/bin/nvcc").symlink_to(host.root / "opt/nvidia/cuda/bin/nvcc")
    assert cuda.make_plan(cuda.Wanted(tmp_path), host).toolkit == cuda.Toolkit(
        host.root / "opt/nvidia/cuda", "12.8.93", "Cuda compilation tools, release 12.8, V12.8.93"
    )


def test_a_toolkit_for_the_gpus_is_preferred_to_a_newer_one(tmp_path: pathlib.Path, host: cuda.ToolkitHost) -> None:
    add_toolkit(host.root / "usr/local/cuda-13.0", "13.0.88", CUDA_13)
    add_toolkit(host.root / "usr/local/cuda-12.8", "12.8.93", CUDA_12)
    assert (
        cuda.make_plan(cuda.Wanted(tmp_path, architectures=("70-real", "90-real")), host).toolkit.version == "12.8.93"
    )


def test_nothing_on_the_host_means_an_installation(tmp_path: pathlib.Path, host: cuda.ToolkitHost) -> None:
    plan = cuda.make_plan(
        cuda.Wanted(tmp_path, driver_version="580.65.06", architectures=("90-real", "120a-real")), host
    )
    assert plan.release == next(iter(RELEASES.values())), "the newest"
    assert plan.toolkit == cuda.Toolkit(tmp_path / f"toolkits/cuda-{plan.release.version}", plan.release.version)
    assert plan.origin == "installed"


def test_a_wanted_version_is_installed_though_there_is_a_newer_one(
    tmp_path: pathlib.Path, host: cuda.ToolkitHost
) -> None:
    assert cuda.make_plan(cuda.Wanted(tmp_path, version="13.0"), host).release == RELEASES["13.0"]


@pytest.mark.parametrize(
    ("driver", "architectures", "version"),
    [
        ("580.65.06", ("90-real", "120a-real"), "13.5.37"),
        ("580.65.06", ("90",), "13.0.88"),
        ("580.65.06", ("80-real", "90-virtual"), "13.0.88"),
        ("", ("90-virtual",), "13.5.37"),
    ],
)
def test_ptx_needs_a_toolkit_that_the_driver_knows(
    tmp_path: pathlib.Path, host: cuda.ToolkitHost, driver: str, architectures: tuple[str, ...], version: str
) -> None:
    plan = cuda.make_plan(cuda.Wanted(tmp_path, driver_version=driver, architectures=architectures), host)
    assert plan.toolkit.version == version


def test_ptx_of_a_version_that_the_driver_may_not_know(tmp_path: pathlib.Path, host: cuda.ToolkitHost) -> None:
    (problem,) = problems_of(
        cuda.Wanted(tmp_path, version="13.5", driver_version="580.65.06", architectures=("90",)), host
    )
    assert (problem.subject, problem.fix) == (
        "cuda_toolkit_version",
        "leave it empty, or name architectures that end in -real",
    )
    assert "PTX driver 580.65.06 may be too old for" in problem.found


def test_an_installed_toolkit_is_taken_without_a_single_command(tmp_path: pathlib.Path, host: cuda.ToolkitHost) -> None:
    def refuse(*_arguments: object, **_options: object) -> commands.Result:
        raise AssertionError("a command ran")

    target = tmp_path / "toolkits/cuda-13.5.37"
    add_toolkit(target, "13.5.37")
    files.write_json(target / "manifest.json", {"version": "13.5.37", "nvcc": "release 13.5, V13.5.37"})
    silent = cuda.ToolkitHost(refuse, host.machine, host.folders, host.root)
    plan = cuda.make_plan(cuda.Wanted(tmp_path, driver_version="580.65.06"), silent)
    assert (plan.toolkit, plan.origin, plan.release) == (
        cuda.Toolkit(target, "13.5.37", "release 13.5, V13.5.37"),
        "installed",
        None,
    )
    assert (plan.toolkit.include, plan.toolkit.library) == (target / "include", target / "lib64")


def test_a_folder_without_its_manifest_is_not_installed(tmp_path: pathlib.Path, host: cuda.ToolkitHost) -> None:
    add_toolkit(tmp_path / "toolkits/cuda-13.5.37", "13.5.37")
    assert cuda.make_plan(cuda.Wanted(tmp_path), host).release is not None


def test_an_old_driver_wants_a_system_toolkit_and_says_why_none_fits(
    tmp_path: pathlib.Path, host: cuda.ToolkitHost
) -> None:
    add_toolkit(host.root / "usr/local/cuda-12.8", "12.8.93", cublas=False)
    add_toolkit(host.root / "usr/local/cuda-13.0", "13.0.88")
    (problem,) = problems_of(cuda.Wanted(tmp_path, driver_version="550.54.14"), host)
    assert problem.subject == "cuda_toolkit_path"
    assert "CUDA 12.8.93" in problem.found
    assert "lacks cuBLAS" in problem.found
    assert "CUDA 13.0.88, which driver 550.54.14 is too old for" in problem.found
    assert "CUDA 12" in problem.fix
    assert "580" in problem.fix


@pytest.mark.parametrize(
    ("driver", "toolkit", "fits"),
    [("524.99", "12.8", False), ("525", "12.8", True), ("579.99", "13.0", False), ("580", "13.0", True)],
)
def test_the_oldest_driver_of_a_toolkit_runs_it(tmp_path: pathlib.Path, driver: str, toolkit: str, fits: bool) -> None:
    reason = cuda.unfit_for(toolkit, (), cuda.Wanted(tmp_path, driver_version=driver))
    assert reason == ("" if fits else f"CUDA {toolkit}, which driver {driver} is too old for")


def test_a_driver_older_than_cuda_12(tmp_path: pathlib.Path, host: cuda.ToolkitHost) -> None:
    (problem,) = problems_of(cuda.Wanted(tmp_path, driver_version="470.256.02"), host)
    assert (problem.subject, problem.found) == ("NVIDIA driver", "version 470.256.02")
    assert problem.wanted == "525 or newer"


def test_a_gpu_that_cuda_13_dropped(tmp_path: pathlib.Path, host: cuda.ToolkitHost) -> None:
    (problem,) = problems_of(cuda.Wanted(tmp_path, driver_version="580.65.06", architectures=("70-real",)), host)
    assert "does not build for 70" in problem.found
    assert "upgrade the driver" not in problem.fix  # it would not help


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("missing", "has no bin/nvcc"),
        ("silent", "does not print its version"),
        ("bare", "lacks cuda_runtime.h and cuBLAS"),
        ("old", "CUDA 11.8.89, older than 12"),
        ("new", "CUDA 14.0.1, newer than 13"),
    ],
)
def test_a_given_path_that_is_no_use(tmp_path: pathlib.Path, host: cuda.ToolkitHost, kind: str, reason: str) -> None:
    folder = tmp_path / "given"
    versions = {"bare": "13.0.88", "old": "11.8.89", "new": "14.0.1"}
    if kind in versions:
        add_toolkit(folder, versions[kind], cublas=kind != "bare")
    if kind == "bare":
        (folder / "include/cuda_runtime.h").unlink()
    if kind == "silent":
        (folder / "bin").mkdir(parents=True)
        (folder / "bin/nvcc").write_text("#!/bin/sh\necho no idea\n")
        (folder / "bin/nvcc").chmod(0o755)
    (problem,) = problems_of(cuda.Wanted(tmp_path, path=str(folder), driver_version="580.65.06"), host)
    assert problem.subject == "cuda_toolkit_path"
    assert reason in problem.found


def test_a_given_path_counts_even_if_another_is_newer(tmp_path: pathlib.Path, host: cuda.ToolkitHost) -> None:
    add_toolkit(host.root / "usr/local/cuda-13.0", "13.0.88")
    add_toolkit(tmp_path / "given", "12.8.93")
    assert cuda.make_plan(cuda.Wanted(tmp_path, path=str(tmp_path / "given")), host).toolkit.version == "12.8.93"


def test_debians_layout_has_its_libraries_in_a_folder_of_the_machine(
    tmp_path: pathlib.Path, host: cuda.ToolkitHost
) -> None:
    add_toolkit(tmp_path / "usr", "12.4.131", cublas=False)
    (tmp_path / "usr/lib/x86_64-linux-gnu").mkdir(parents=True)
    (tmp_path / "usr/lib/x86_64-linux-gnu/libcublas.so").touch()
    (tmp_path / "usr/include/cublas_v2.h").touch()
    assert cuda.make_plan(cuda.Wanted(tmp_path, path=str(tmp_path / "usr")), host).toolkit.version == "12.4.131"


def test_all_problems_of_the_host_come_together(tmp_path: pathlib.Path, host: cuda.ToolkitHost) -> None:
    (host.root / "usr/bin/g++").unlink()
    problems = problems_of(cuda.Wanted(tmp_path, architectures=("hopper", "90-real")), host)
    assert [problem.subject for problem in problems] == ["cuda_toolkit_architectures", "compiler"]
    assert "'hopper'" in problems[0].found
    assert cuda.make_plan(cuda.Wanted(tmp_path), host, compiler_later=True).release


def test_a_version_that_cannot_be_installed(tmp_path: pathlib.Path, host: cuda.ToolkitHost) -> None:
    (problem,) = problems_of(cuda.Wanted(tmp_path, version="12.8"), host)
    assert (problem.subject, problem.found, problem.wanted) == ("cuda_toolkit_version", "'12.8'", "13.5 or 13.0")


def test_a_machine_and_a_disk_that_do_not_fit(
    tmp_path: pathlib.Path, host: cuda.ToolkitHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[pathlib.Path, int, str]] = []

    def full(path: pathlib.Path, wanted: int, variable: str) -> Problem:
        asked.append((path, wanted, variable))
        return Problem("disk space", "12 MB free", "4000 MB")

    monkeypatch.setattr(files, "space_problem", full)
    riscv = cuda.ToolkitHost(host.run, "riscv64", host.folders, host.root)
    assert [problem.subject for problem in problems_of(cuda.Wanted(tmp_path), riscv)] == ["machine", "disk space"]
    assert asked == [(tmp_path / "toolkits/cuda-13.5.37", 4_000_000_000, "cuda_toolkit_root")]


def test_a_proof_that_fails_says_what_the_compiler_said(tmp_path: pathlib.Path, host: cuda.ToolkitHost) -> None:
    said = "In file included from proof.cu:\\nhost_config.h:132:2: error: #error -- unsupported GNU version!"
    add_toolkit(tmp_path / "cuda", "12.0.140", build=f"printf '{said}\\n' >&2; exit 1")
    with pytest.raises(ProblemError) as raised:
        cuda_proof.prove(cuda.Toolkit(tmp_path / "cuda", "12.0.140"), cuda.Wanted(tmp_path), host)
    (problem,) = raised.value.problems
    assert problem.subject == "CUDA toolkit"
    assert "error: #error -- unsupported GNU version!" in problem.found


def test_what_was_unpacked_is_accepted_by_name_or_refused_with_the_reason(
    tmp_path: pathlib.Path, host: cuda.ToolkitHost
) -> None:
    add_toolkit(tmp_path / "cuda", "13.0.88")
    assert (
        cuda_proof.accept(tmp_path / "cuda", cuda.Wanted(tmp_path), host)
        == "Cuda compilation tools, release 13.0, V13.0.88"
    )
    with pytest.raises(
        ProblemError, match=r"CUDA toolkit: expected .*, found CUDA 13\.0\.88, which does not build for 70"
    ):
        cuda_proof.accept(tmp_path / "cuda", cuda.Wanted(tmp_path, architectures=("70-real",)), host)
    add_toolkit(tmp_path / "other", "13.0.88", build="echo error: no >&2; exit 1")
    with pytest.raises(ProblemError, match="cannot build a small program: error: no"):
        cuda_proof.accept(tmp_path / "other", cuda.Wanted(tmp_path), host)
    (tmp_path / "cuda/lib64/libcublas.so").unlink()
    with pytest.raises(ProblemError, match="lacks cuBLAS"):
        cuda_proof.accept(tmp_path / "cuda", cuda.Wanted(tmp_path), host)
