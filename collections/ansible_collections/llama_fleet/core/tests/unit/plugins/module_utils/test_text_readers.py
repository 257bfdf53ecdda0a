# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Give every reader of the kernel's files and of programs' output any text; it returns a value."""

from __future__ import annotations

import contextlib
import pathlib
import tempfile
import typing

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ansible_collections.llama_fleet.core.plugins.module_utils.host import control_groups, cpus, ports, processes
from ansible_collections.llama_fleet.core.plugins.module_utils.host import memory as build_jobs
from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import Result
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia import processes as nvidia_processes
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia import smi as nvidia_smi
from ansible_collections.llama_fleet.core.plugins.module_utils.release import flags as server_help
from ansible_collections.llama_fleet.core.plugins.module_utils.release import smoke_test
from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate import metrics as server_metrics
from ansible_collections.llama_fleet.core.plugins.module_utils.server.proof import free as server_memory_free

TEXTS = st.text(max_size=200) | st.lists(
    st.sampled_from(
        [
            "MemAvailable:",
            "MemTotal:",
            "9" * 20,
            "kB",
            "max",
            "100000",
            "0::/",
            "a\0b",
            ":",
            "\n",
            " ",
            "1",
            "(x)",
            "S",
            "0A",
            "00000000:1F90",
            "²",
            "-1",
            "<gpu>",
            "</gpu>",
            "12 MiB",
        ]
    ),
    max_size=30,
).map("".join)


def below(*names: str) -> typing.Callable[[str, pathlib.Path], None]:
    def write(text: str, folder: pathlib.Path) -> None:
        for name in names:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", errors="replace")

    return write


TEXT_READERS: list[
    tuple[str, typing.Callable[[str, pathlib.Path], object], typing.Callable[[pathlib.Path], object]]
] = [
    (
        "processes.find",
        below("7/stat", "1/stat"),
        lambda root: (processes.find(7, root), processes._parent(7, root), processes.name(7, root)),
    ),
    (
        "processes.environment",
        below("7/environ"),
        lambda root: (processes.environment(7, root), processes.started_with("a", "b", root)),
    ),
    ("processes.in_unit", below("7/cgroup", "1/cgroup"), lambda root: processes.in_unit(7, "x.service", root)),
    ("control_groups.memory", below("proc/self/cgroup"), lambda root: list(control_groups.memory(root))),
    (
        "cpus.observe",
        below("proc/self/cgroup", "sys/fs/cgroup/cpu.max", "sys/fs/cgroup/cpu/cpu.cfs_quota_us"),
        lambda root: cpus.observe(root, [0]),
    ),
    (
        "build_jobs.memory_available",
        below("proc/meminfo", "proc/self/cgroup", "sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory.current"),
        build_jobs.memory_available,
    ),
    (
        "server_memory_free.ram",
        below("proc/meminfo", "proc/7/status", "proc/self/cgroup"),
        lambda root: server_memory_free.ram("process", "", [7], root),
    ),
]


@pytest.mark.parametrize(("_name", "write", "read"), TEXT_READERS, ids=[each[0] for each in TEXT_READERS])
def test_no_text_of_the_kernel_raises(
    _name: str, write: typing.Callable[[str, pathlib.Path], object], read: typing.Callable[[pathlib.Path], object]
) -> None:
    @settings(max_examples=150, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(TEXTS)
    @example("")
    @example("0::/a\0b\n")
    @example("MemAvailable:\nMemTotal: x kB\n")
    @example("7 (x) S " + "² " * 30)
    @example("7 (x) S " + "9" * 5000 + " 1" * 30)
    @example("9" * 5000)
    def check(text: str) -> None:
        with tempfile.TemporaryDirectory() as folder:
            write(text, pathlib.Path(folder))
            read(pathlib.Path(folder))

    check()


SMI = (
    "<nvidia_smi_log><driver_version>580.95.05</driver_version><gpu><uuid>{0}</uuid>"
    "<fb_memory_usage><total>{0}</total></fb_memory_usage>"
    "<minor_number>{0}</minor_number></gpu></nvidia_smi_log>"
)


@settings(max_examples=200, deadline=None, database=None)
@given(TEXTS)
@example("<!DOCTYPE x [<!ENTITY a 'a'><!ENTITY b '&a;&a;'>]>")
@example("<a>" * 50_000)
@example("9" * 5000)
@example("\ud800")
def test_no_text_of_a_program_raises_anything_else(text: str) -> None:
    for document in (text, SMI.replace("{0}", text), f"<nvidia_smi_log>{text}</nvidia_smi_log>"):
        with contextlib.suppress(ValueError):
            nvidia_smi.parse_log(document)
    ports.parse_table(f"head\n  0: {text} 0:0 0A 0:0 0:0 0 {text} 0 1 1\n{text}")
    server_memory_free.gpus(text)
    nvidia_processes.compute_processes(lambda *_words, **_more: Result(0, text, ""))
    nvidia_processes.used_mib(lambda *_words, **_more: Result(0, f"{text}\n1, {text}", ""), [1])
    server_metrics.parse(f"llamacpp:x {text}\n{text}")
    smoke_test.parse_devices(text)
    server_help.parse_help(text)
    nvidia_smi.numbers(text)
