# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test choosing a toolkit on a host that is a folder with toolkits, whose nvcc is a script."""

from __future__ import annotations

import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.cuda import choice as cuda_choice
from ansible_collections.llama_fleet.core.plugins.module_utils.cuda import plan as cuda
from ansible_collections.llama_fleet.core.plugins.module_utils.cuda import trial as cuda_proof
from ansible_collections.llama_fleet.core.plugins.module_utils.cuda.releases import RELEASES
from ansible_collections.llama_fleet.core.plugins.module_utils.host import commands, files
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.progress import Progress
from ansible_collections.llama_fleet.core.tests.unit.fakes.cuda_host import CUDA_12, CUDA_13, add_toolkit

if typing.TYPE_CHECKING:
    import pathlib


pytestmark = pytest.mark.usefixtures("plenty_of_space")


def problems_of(wanted: cuda.Wanted, host: cuda.ToolkitHost) -> tuple[Problem, ...]:
    with pytest.raises(ProblemError) as raised:
        cuda_choice.make_plan(wanted, host)
    return raised.value.problems


def test_the_newest_toolkit_that_the_driver_runs_is_found(tmp_path: pathlib.Path, host: cuda.ToolkitHost) -> None:
    for version in ("12.4.131", "12.10.20", "13.0.88"):
        add_toolkit(host.root / f"usr/local/cuda-{version[:4]}", version)
    (host.root / "usr/local/cuda").symlink_to("cuda-13.0")
    newest = cuda_choice.make_plan(cuda.Wanted(tmp_path, driver_version="580.95.05"), host)
    assert (newest.toolkit.version, newest.origin, newest.release) == ("13.0.88", "found", None)
    assert newest.toolkit.path.name == "cuda-13.0"  # not the link, which changes under a build
    assert cuda_choice.make_plan(cuda.Wanted(tmp_path, driver_version="550.54.14"), host).toolkit.version == "12.10.20"
    assert cuda_choice.make_plan(cuda.Wanted(tmp_path), host).toolkit.version == "13.0.88"


def test_a_toolkit_on_path_is_found_through_its_link(tmp_path: pathlib.Path, host: cuda.ToolkitHost) -> None:
    add_toolkit(host.root / "opt/nvidia/cuda", "12.8.93")
    (host.root / "usr/bin/nvcc").symlink_to(host.root / "opt/nvidia/cuda/bin/nvcc")
    assert cuda_choice.make_plan(cuda.Wanted(tmp_path), host).toolkit == cuda.Toolkit(
        host.root / "opt/nvidia/cuda", "12.8.93", "Cuda compilation tools, release 12.8, V12.8.93"
    )


def test_a_toolkit_for_the_gpus_is_preferred_to_a_newer_one(tmp_path: pathlib.Path, host: cuda.ToolkitHost) -> None:
    add_toolkit(host.root / "usr/local/cuda-13.0", "13.0.88", CUDA_13)
    add_toolkit(host.root / "usr/local/cuda-12.8", "12.8.93", CUDA_12)
    assert (
        cuda_choice.make_plan(cuda.Wanted(tmp_path, architectures=("70-real", "90-real")), host).toolkit.version
        == "12.8.93"
    )


def test_nothing_on_the_host_means_an_installation(tmp_path: pathlib.Path, host: cuda.ToolkitHost) -> None:
    plan = cuda_choice.make_plan(
        cuda.Wanted(tmp_path, driver_version="580.65.06", architectures=("90-real", "120a-real")), host
    )
    assert plan.release == next(iter(RELEASES.values())), "the newest"
    assert plan.toolkit == cuda.Toolkit(tmp_path / f"toolkits/cuda-{plan.release.version}", plan.release.version)
    assert plan.origin == "installed"


def test_a_wanted_version_is_installed_though_there_is_a_newer_one(
    tmp_path: pathlib.Path, host: cuda.ToolkitHost
) -> None:
    assert cuda_choice.make_plan(cuda.Wanted(tmp_path, version="13.0"), host).release == RELEASES["13.0"]


@pytest.mark.parametrize(
    ("wanted", "version", "origin"),
    [
        ("13.5", "13.5.37", "installed"),
        ("13.0", "13.0.88", "found"),
        ("12.8", "12.8.93", "found"),
        ("12", "12.8.93", "found"),
        ("", "13.1.80", "found"),
    ],
)
def test_a_wanted_version_beats_every_toolkit_on_the_host(
    tmp_path: pathlib.Path, host: cuda.ToolkitHost, wanted: str, version: str, origin: str
) -> None:
    for there in ("12.8.93", "13.0.88", "13.1.80"):
        add_toolkit(host.root / f"usr/local/cuda-{there[:4]}", there)
    plan = cuda_choice.make_plan(cuda.Wanted(tmp_path, version=wanted), host)
    assert (plan.toolkit.version, plan.origin) == (version, origin)


# What toolkits printed about a compiler or C library that they do not know, in public reports: of llama.cpp (17615,
# 22886, 9205), ollama-flake (3), instant-ngp (1562), koboldcpp (1521), nccl (1700), colibri (966), llama3.cuda (1).
_GCC = (
    "crt/host_config.h:143:2: error: #error -- unsupported GNU version! gcc versions later than {} are not supported!"
)
_LIBC = '/usr/include/bits/mathcalls.h(79): error: exception specification is incompatible with that of "{}"'
_LIBRARY = "/usr/include/c++/11/bits/std_function.h:435:145: error: parameter packs not expanded with '...':"
REFUSED = (
    ("12.9.86", _GCC.format(14)),
    ("12.4.131", _GCC.format(13)),
    ("12.1.105", _GCC.format(12)),
    ("12.0.140", _GCC.format(11)),
    ("13.0.88", _LIBC.format("rsqrtf")),
    ("12.8.93", _LIBC.format("cospi")),
    ("12.6.85", _LIBC.format("rsqrt")),
    ("12.2.140", _LIBRARY),
)


@pytest.mark.parametrize(("version", "said"), REFUSED)
def test_a_toolkit_that_cannot_compile_here_is_left_for_the_next_or_for_the_wheels(
    tmp_path: pathlib.Path, host: cuda.ToolkitHost, version: str, said: str
) -> None:
    says = said.replace("'", "'\\''")
    add_toolkit(host.root / f"usr/local/cuda-{version[:4]}", version, build=f"echo '{says}' >&2; exit 2")
    wanted = cuda.Wanted(tmp_path / "root", driver_version="580.95.05", architectures=("89-real",))

    def plan() -> cuda.ToolkitPlan:
        trials = cuda_proof.Trials(wanted, host, Progress())
        return cuda_choice.make_plan(wanted, host, refusal=trials.refusal)

    assert (plan().toolkit.version, plan().origin) == ("13.5.37", "installed")
    add_toolkit(host.root / "usr/local/cuda-12.3", "12.3.107")
    assert (plan().toolkit.version, plan().origin) == ("12.3.107", "found")


def test_if_the_wheels_do_not_fit_either_what_the_compiler_said_is_told(
    tmp_path: pathlib.Path, host: cuda.ToolkitHost
) -> None:
    version, said = REFUSED[1]
    add_toolkit(host.root / "usr/local/cuda-12.4", version, build=f"echo '{said}' >&2; exit 2")
    wanted = cuda.Wanted(tmp_path / "root", driver_version="550.54.14")
    trials = cuda_proof.Trials(wanted, host, Progress())
    with pytest.raises(ProblemError) as raised:
        cuda_choice.make_plan(wanted, host, refusal=trials.refusal)
    (problem,) = raised.value.problems
    assert (problem.subject, said in problem.found) == ("cuda_toolkit_path", True)
    assert "driver 550.54.14 is too old for" in problem.found


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
    plan = cuda_choice.make_plan(cuda.Wanted(tmp_path, driver_version=driver, architectures=architectures), host)
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
    plan = cuda_choice.make_plan(cuda.Wanted(tmp_path, driver_version="580.65.06"), silent)
    assert (plan.toolkit, plan.origin, plan.release) == (
        cuda.Toolkit(target, "13.5.37", "release 13.5, V13.5.37"),
        "installed",
        None,
    )
    assert (plan.toolkit.include, plan.toolkit.library) == (target / "include", target / "lib64")


def test_a_folder_without_its_manifest_is_not_installed(tmp_path: pathlib.Path, host: cuda.ToolkitHost) -> None:
    add_toolkit(tmp_path / "toolkits/cuda-13.5.37", "13.5.37")
    assert cuda_choice.make_plan(cuda.Wanted(tmp_path), host).release is not None


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
    assert cuda_choice.make_plan(cuda.Wanted(tmp_path, path=str(tmp_path / "given")), host).toolkit.version == "12.8.93"


def test_a_given_path_of_another_version_than_the_given_one(tmp_path: pathlib.Path, host: cuda.ToolkitHost) -> None:
    add_toolkit(tmp_path / "given", "12.8.93")
    (problem,) = problems_of(cuda.Wanted(tmp_path, path=str(tmp_path / "given"), version="13.0"), host)
    assert (problem.subject, problem.found) == ("cuda_toolkit_path", f"CUDA 12.8.93, not 13.0, in {tmp_path}/given")


def test_debians_layout_has_its_libraries_in_a_folder_of_the_machine(
    tmp_path: pathlib.Path, host: cuda.ToolkitHost
) -> None:
    add_toolkit(tmp_path / "usr", "12.4.131", cublas=False)
    (tmp_path / "usr/lib/x86_64-linux-gnu").mkdir(parents=True)
    (tmp_path / "usr/lib/x86_64-linux-gnu/libcublas.so").touch()
    (tmp_path / "usr/include/cublas_v2.h").touch()
    assert cuda_choice.make_plan(cuda.Wanted(tmp_path, path=str(tmp_path / "usr")), host).toolkit.version == "12.4.131"


def test_all_problems_of_the_host_come_together(tmp_path: pathlib.Path, host: cuda.ToolkitHost) -> None:
    (host.root / "usr/bin/g++").unlink()
    problems = problems_of(cuda.Wanted(tmp_path, architectures=("hopper", "90-real")), host)
    assert [problem.subject for problem in problems] == ["cuda_toolkit_architectures", "compiler"]
    assert "'hopper'" in problems[0].found
    assert cuda_choice.make_plan(cuda.Wanted(tmp_path), host, compiler_later=True).release


def test_a_version_that_cannot_be_installed(tmp_path: pathlib.Path, host: cuda.ToolkitHost) -> None:
    add_toolkit(host.root / "usr/local/cuda-12.4", "12.4.131")
    (problem,) = problems_of(cuda.Wanted(tmp_path, version="12.8"), host)
    folder = host.root / "usr/local/cuda-12.4"
    assert (problem.subject, problem.found, problem.wanted) == (
        "cuda_toolkit_version",
        f"'12.8', and no fitting toolkit on the host (CUDA 12.4.131, not 12.8, in {folder})",
        "13.5 or 13.0, or the version of a toolkit on the host",
    )


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
