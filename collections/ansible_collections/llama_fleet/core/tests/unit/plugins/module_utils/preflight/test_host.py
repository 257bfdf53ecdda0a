# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import dataclasses
import os
import pathlib
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import Result
from ansible_collections.llama_fleet.core.plugins.module_utils.preflight import host as preflight_host
from ansible_collections.llama_fleet.core.plugins.module_utils.preflight.host import Need, Space
from ansible_collections.llama_fleet.core.plugins.module_utils.preflight.wanted import Wanted, read
from ansible_collections.llama_fleet.core.plugins.module_utils.tools import compiler as build_host
from ansible_collections.llama_fleet.core.tests.unit.fakes.preflight import GB, ROOMY, variables
from ansible_collections.llama_fleet.core.tests.unit.fakes.runner import FakeRunner

MIB = 1 << 20
GPU = {
    "backend": "cuda",
    "cuda_architectures": ["90-real"],
    "driver": {"version": "580.1"},
    "gpus": [{"memory_total_mib": 1000, "memory_free_mib": 1}],
}


def wanted(folder: pathlib.Path, plans: dict[str, typing.Any] | None = None, **changed: typing.Any) -> Wanted:
    found, wrong = read("default", variables(folder, **changed), plans or {}, "")
    assert wrong == []
    return found


def fill(root: pathlib.Path, files: dict[str, str]) -> pathlib.Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return root


@pytest.mark.parametrize(
    ("version", "missing", "severity", "told"),
    [
        ((3, 10, 2), "", "ok", "Python 3.10.2"),
        ((3, 9, 19), "", "error", "Python 3.9.19"),
        ((3, 12, 1), "venv", "warning", "Python 3.12.1 without venv"),
        ((3, 12, 1), "ssl", "error", "Python 3.12.1 without ssl"),
    ],
)
def test_python(version: tuple[int, ...], missing: str, severity: str, told: str) -> None:
    check = preflight_host.python(version, lambda name: name != missing)
    assert (check.code, check.severity, check.found) == ("python", severity, told)


# -- disks -------------------------------------------------------------------------------------------


def need(path: str, size: int | None, variable: str = "x_root") -> Need:
    return Need(pathlib.Path(path), size, f"what {path} gets", variable)


def test_what_fits_one_by_one_and_not_together_is_too_much() -> None:
    needs = [need("/opt", 12 * GB, "llama_cpp_root"), need("/var", 9 * GB, "gguf_model_root")]
    (check,) = preflight_host.disk(needs, lambda _path: dataclasses.replace(ROOMY, free=20 * GB))
    assert (check.code, check.severity, check.found) == ("disk", "error", "20.0 GB free below /opt and /var")
    assert check.wanted == "21.0 GB (what /opt gets 12.0 GB, what /var gets 9.0 GB)"
    assert check.fix == "make room there, or point llama_cpp_root or gguf_model_root at another file system"


def test_each_file_system_has_its_own_room() -> None:
    devices = {"/opt": Space(1, 13 * GB, 1 << 40, executes=True), "/var": Space(2, 9 * GB, 1 << 40, executes=True)}
    needs = [need("/opt", 12 * GB), need("/var", 9 * GB)]
    assert [check.severity for check in preflight_host.disk(needs, lambda path: devices[str(path)])] == ["ok", "ok"]


def test_the_same_need_of_two_instances_is_there_once_and_an_unknown_one_is_said() -> None:
    (check,) = preflight_host.disk(
        [need("/opt", 12 * GB), need("/opt", 12 * GB), need("/var", None)],
        lambda _path: dataclasses.replace(ROOMY, free=12 * GB),
    )
    assert check.severity == "ok"
    assert check.found.endswith("wanted: what /opt gets 12.0 GB, what /var gets not known yet")


def test_a_file_system_can_be_out_of_files() -> None:
    (check,) = preflight_host.disk([need("/opt", GB)], lambda _path: dataclasses.replace(ROOMY, files=500))
    assert (check.severity, check.found) == ("error", "room for 500 more files below /opt")
    assert (
        preflight_host.disk([need("/opt", 0)], lambda _path: dataclasses.replace(ROOMY, files=500))[0].severity == "ok"
    )


def test_a_folder_that_is_not_there_has_the_room_of_its_parent(tmp_path: pathlib.Path) -> None:
    found, parent = preflight_host.space(tmp_path / "a" / "b"), preflight_host.space(tmp_path)
    assert (found.device, found.executes) == (parent.device, parent.executes)
    assert found.free > 0
    assert found.files > 0


def test_a_mount_without_programs_is_seen(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.statvfs(tmp_path)
    for flags, executes in ((0, True), (os.ST_NOEXEC, False)):
        monkeypatch.setattr(os, "statvfs", lambda _path, flags=flags: os.statvfs_result([*real[:8], flags, real[9]]))
        assert preflight_host.space(tmp_path).executes is executes


def test_programs_need_a_file_system_that_runs_them() -> None:
    place = pathlib.Path("/opt")
    assert preflight_host.executable(place, "llama_cpp_root", lambda _path: ROOMY) == []
    (check,) = preflight_host.executable(
        place, "llama_cpp_root", lambda _path: dataclasses.replace(ROOMY, executes=False)
    )
    assert (check.code, check.severity, check.subject) == ("rights", "error", "llama_cpp_root")
    assert "noexec" in check.found


def test_each_place_that_cannot_be_written_is_told_once() -> None:
    nobodys = pathlib.Path("/proc/1/nothing")
    (check,) = preflight_host.rights(
        [(nobodys, "llama_cpp_root"), (nobodys, "llama_cpp_root"), (pathlib.Path("/tmp"), "gguf_model_root")]
    )
    assert (check.code, check.severity, check.subject) == ("rights", "error", "llama_cpp_root")


# -- compilers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("told", "plans", "severity", "wants"),
    [
        ("gcc version 9.4.0 (Ubuntu)", {}, "ok", ""),
        ("gcc version 8.3.0 (Debian)", {}, "warning", "gcc 9 or newer, for C++17"),
        ("gcc version 7.5.0 (Ubuntu)", {}, "error", "gcc 9 or newer, for C++17"),
        ("clang version 7.0.1-8", {}, "error", "clang 9 or newer, for C++17"),
        ("clang version 19.1.0", {"nvidia_driver": GPU}, "ok", ""),
        ("gcc version 17.1.0", {}, "ok", ""),
        ("gcc version 17.1.0", {"nvidia_driver": GPU}, "warning", "gcc 16 or older, for CUDA's compiler"),
        (
            "gcc version 15.1.0",
            {"nvidia_driver": GPU, "cuda_toolkit": {"version": "12.8.1"}},
            "warning",
            "gcc 14 or older, for CUDA's compiler",
        ),
        ("no version at all", {}, "error", "a working GCC or Clang"),
    ],
)
def test_a_compiler_of_the_right_age(
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    told: str,
    plans: dict[str, typing.Any],
    severity: str,
    wants: str,
) -> None:
    monkeypatch.setattr(
        build_host, "observe", lambda _git: build_host.BuildHost("/usr/bin/c++", openssl=True, missing=())
    )
    (check,) = preflight_host.compiler(wanted(tmp_path, plans), False, FakeRunner(Result(0, "", f"{told}\n")))
    assert (check.code, check.severity, check.wanted) == ("compiler", severity, wants)


def test_what_will_be_installed_is_no_problem(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        build_host,
        "observe",
        lambda git: build_host.BuildHost("", openssl=False, missing=("compiler", *(["git"] if git else []), "openssl")),
    )
    monkeypatch.setattr(build_host, "can_install", lambda: True)
    (check,) = preflight_host.compiler(wanted(tmp_path), True, FakeRunner())
    assert (check.severity, check.found) == ("ok", "none of g++, git; the packages will be installed")
    monkeypatch.setattr(build_host, "can_install", lambda: False)
    assert preflight_host.compiler(wanted(tmp_path), True, FakeRunner()) == [], "the release's plan tells of it"


def test_tls_wants_the_headers_of_openssl(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        build_host, "observe", lambda _git: build_host.BuildHost("", openssl=False, missing=("openssl",))
    )
    monkeypatch.setattr(build_host, "can_install", lambda: False)
    instance = wanted(tmp_path, llama_server_tls_certificate="/c.pem", llama_server_tls_key="/k.pem")
    (check,) = preflight_host.compiler(instance, False, FakeRunner())
    assert (check.severity, check.subject) == ("error", "llama_server_tls_certificate")


# -- memory and processors ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mib", "jobs", "plans", "severity", "subject"),
    [
        (4096, 0, {}, "ok", "memory"),
        (4096, 2, {}, "ok", "memory"),
        (4096, 16, {}, "warning", "llama_cpp_jobs"),
        (600, 0, {}, "warning", "memory"),
        (1500, 0, {"nvidia_driver": GPU}, "warning", "memory"),
    ],
)
def test_memory_for_compilers(
    tmp_path: pathlib.Path, mib: int, jobs: int, plans: dict[str, typing.Any], severity: str, subject: str
) -> None:
    root = fill(tmp_path / "root", {"proc/meminfo": f"MemTotal: 9999999 kB\nMemAvailable: {mib * 1024} kB\n"})
    check = preflight_host.build_memory(wanted(tmp_path, plans, llama_cpp_jobs=jobs), root)
    assert (check.code, check.severity, check.subject) == ("build_memory", severity, subject)


def test_a_control_group_limits_compilers_too(tmp_path: pathlib.Path) -> None:
    limits = {
        "proc/self/cgroup": "0::/a\n",
        "sys/fs/cgroup/a/memory.max": str(700 * MIB),
        "sys/fs/cgroup/a/memory.current": str(300 * MIB),
    }
    root = fill(tmp_path / "root", {"proc/meminfo": "MemAvailable: 9999999 kB\n", **limits})
    check = preflight_host.build_memory(wanted(tmp_path), root)
    assert (check.severity, check.found) == ("warning", "400 MiB available to compilers")


@pytest.mark.parametrize(
    ("size", "plans", "changed", "severity"),
    [
        (2000, {}, {}, "ok"),
        (3000, {}, {}, "error"),
        (3000, {}, {"llama_server_memory_check": False}, "warning"),
        (3000, {}, {"llama_server_extra_options": {"rpc": "10.0.0.1:50052"}}, "warning"),
        (3000, {}, {"llama_cpp_cmake_options": {"GGML_VULKAN": True}}, "warning"),
        (3000, {"nvidia_driver": GPU}, {}, "ok"),
        (3100, {"nvidia_driver": GPU}, {}, "error"),
    ],
)
def test_a_model_that_can_never_be_held_is_not_fetched(
    tmp_path: pathlib.Path, size: int, plans: dict[str, typing.Any], changed: dict[str, typing.Any], severity: str
) -> None:
    root = fill(tmp_path / "root", {"proc/meminfo": f"MemTotal: 8388608 kB\nMemAvailable: {2048 * 1024} kB\n"})
    instance = wanted(tmp_path, plans, **changed)
    (check,) = preflight_host.model_memory(instance, size * MIB, "process", root)
    assert (check.code, check.severity) == ("memory", severity)
    assert preflight_host.model_memory(instance, size * MIB, "process", tmp_path / "nothing") == []


@pytest.mark.parametrize(
    ("quota", "severity"), [("max 100000", "ok"), ("150000 100000", "ok"), ("50000 100000", "warning")]
)
def test_a_quota_below_one_processor_is_a_warning(tmp_path: pathlib.Path, quota: str, severity: str) -> None:
    check = preflight_host.processors(
        fill(tmp_path, {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": quota}), range(4)
    )
    assert (check.code, check.severity) == ("cpus", severity)
    assert check.found.startswith("4 CPUs, 4 cores")


def test_the_cores_of_a_hybrid_cpu_that_compute_are_told(tmp_path: pathlib.Path) -> None:
    check = preflight_host.processors(fill(tmp_path, {"sys/devices/cpu_core/cpus": "0-1\n"}), range(4))
    assert (check.severity, check.found) == ("ok", "4 CPUs, 4 cores (2 of them fit for computing)")
