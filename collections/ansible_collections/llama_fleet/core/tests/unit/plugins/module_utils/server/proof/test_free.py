# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import Result
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia import processes as nvidia_processes
from ansible_collections.llama_fleet.core.plugins.module_utils.server.proof import free as server_memory_free
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.registry import named
from ansible_collections.llama_fleet.core.tests.unit.fakes.runner import FakeRunner

if typing.TYPE_CHECKING:
    import pathlib

MIB = 1 << 20
V1 = "sys/fs/cgroup/memory"


@pytest.fixture
def host(tmp_path: pathlib.Path) -> pathlib.Path:
    """Create a host with 8000 MiB, 5000 of them available, and a process with 1000 that is about to end."""
    put(tmp_path, "proc/meminfo", f"MemTotal: {8000 * 1024} kB\nMemFree: 12 kB\nMemAvailable: {5000 * 1024} kB\n")
    own = {"VmLck": 300, "VmRSS": 1900, "RssAnon": 600, "RssFile": 1200, "RssShmem": 100}
    put(
        tmp_path,
        "proc/77/status",
        "Name:\tllama-server\n" + "".join(f"{name}:\t{mib * 1024} kB\n" for name, mib in own.items()),
    )
    return tmp_path


def put(root: pathlib.Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def group(root: pathlib.Path, folder: str, limit: int, used: int, prefix: str = "") -> None:
    names = (
        ("memory.limit_in_bytes", "memory.usage_in_bytes")
        if folder.startswith(V1)
        else ("memory.max", "memory.current")
    )
    put(root, f"{folder}/{names[0]}", f"{limit * MIB}\n")
    put(root, f"{folder}/{names[1]}", f"{used * MIB}\n")
    put(root, f"{folder}/memory.stat", f"anon 5\n{prefix}inactive_file {200 * MIB}\n{prefix}active_file {100 * MIB}\n")


def test_what_the_present_process_holds_is_free_once_it_is_gone(host: pathlib.Path) -> None:
    assert server_memory_free.ram(False, "", (), host) == {"Host": 5000}
    assert server_memory_free.ram(False, "", (77,), host) == {"Host": 6000}, (
        "its own, and what it has locked, but no cached file twice"
    )
    assert server_memory_free.ram(False, "", (78,), host) == {"Host": 5000}
    assert server_memory_free.locked_bytes(77, host) == 300 * MIB
    assert server_memory_free.locked_bytes(78, host) is None


def test_a_host_that_does_not_tell_is_not_judged(tmp_path: pathlib.Path) -> None:
    assert server_memory_free.ram(False, "", (), tmp_path) == {}


@pytest.mark.parametrize(
    ("lines", "folder", "prefix"), [("0::/a/b\n", "sys/fs/cgroup", ""), ("4:cpu:/x\n3:memory:/a/b\n", V1, "total_")]
)
def test_the_tightest_control_group_counts(host: pathlib.Path, lines: str, folder: str, prefix: str) -> None:
    put(host, "proc/self/cgroup", lines)
    group(host, f"{folder}/a", 4000, 3000, prefix)
    group(host, f"{folder}/a/b", 5000, 100, prefix)
    assert server_memory_free.ram(False, "", (), host) == {"Host": 1300}, "cached files make room"
    assert server_memory_free.ram(False, "", (77,), host) == {"Host": 2300}
    assert server_memory_free.ram(True, "", (), host) == {"Host": 5000}, "a unit is in another group"
    group(host, folder, 2000, 1500, prefix)
    assert server_memory_free.ram(True, "", (), host) == {"Host": 800}, "but within the container's"
    assert server_memory_free.ram(True, "", (77,), host) == {"Host": 1800}
    put(host, f"{folder}/memory.max", "max\n")
    put(host, f"{folder}/memory.limit_in_bytes", "max\n")
    assert server_memory_free.ram(True, "", (), host) == {"Host": 5000}


@pytest.mark.parametrize(
    ("runtime", "limit", "mib"),
    [("systemd", "1G", 1024), ("docker", "50%", 4000), ("quadlet", "24G", 5000), ("process", "1G", 5000)],
)
def test_the_limit_of_the_unit_counts_where_there_is_one(
    host: pathlib.Path, runtime: str, limit: str, mib: int
) -> None:
    assert server_memory_free.ram(named(runtime).own_control_group, limit, (), host) == {"Host": mib}


def test_gpus_are_named_as_the_server_names_them() -> None:
    listing = (
        "Available devices:\n  CUDA0: NVIDIA H200 (143771 MiB, 143000 MiB free)\n  CUDA1: NVIDIA H200 MIG "
        "1g.18gb (16384 MiB, 7 MiB free)\n"
    )
    assert server_memory_free.gpus(listing) == {"CUDA0": 143000, "CUDA1": 7}
    assert server_memory_free.gpus("Available devices:\n") == {}


def test_whose_gpu_memory_it_is_comes_from_the_driver_or_from_what_was_planned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvidia_processes, "find_smi", lambda _host: "/bin/nvidia-smi")
    listing = "77, GPU-1a, 500\n77, GPU-2b, 600\n99, GPU-1a, 7\n78, GPU-1a, [N/A]\n"

    def own(pids: tuple[int, ...], devices: list[str]) -> dict[str, int]:
        return server_memory_free.own_gpus(
            FakeRunner(Result(0, listing, "")), pids, {"CUDA0": 440, "CUDA1": 550, "Host": 9}, devices
        )

    assert own((77,), ["CUDA0"]) == {"CUDA0": 1100}
    assert own((77,), ["CUDA0", "CUDA1"]) == {"CUDA0": 440, "CUDA1": 550}
    assert own((78,), ["CUDA0"]) == {"CUDA0": 440, "CUDA1": 550}
    assert own((), ["CUDA0"]) == {}


@pytest.mark.parametrize(
    ("locked", "runtime", "told"),
    [
        (None, "systemd", ""),
        (95 * MIB, "systemd", ""),
        (0, "systemd", "look for LimitMEMLOCK in the unit's overrides"),
        (
            64 * MIB,
            "process",
            "100 MiB, and the kernel locked 64 MiB of it: run as root, or raise the limit of locked memory (ulimit -l)",
        ),
    ],
)
def test_a_model_that_is_not_locked_though_it_should_be(locked: int | None, runtime: str, told: str) -> None:
    warning = server_memory_free.lock_warning(locked, 100, named(runtime).memory_lock_fix)
    assert warning.endswith(told)
    assert bool(warning) is bool(told)
