# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import Result
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia import processes
from ansible_collections.llama_fleet.core.tests.unit.fakes.runner import FakeRunner

LISTING = "12, GPU-a, 4096\n13, GPU-a, 100\n12, GPU-b, 50\n[N/A], [N/A], [N/A]\n14, GPU-a, [N/A]\n"


@pytest.fixture(autouse=True)
def smi(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "find_smi", lambda _host: "/bin/nvidia-smi")


def test_memory_is_that_of_the_processes_on_all_gpus() -> None:
    assert processes.used_mib(FakeRunner(Result(0, LISTING, "")), [12, 14]) == 4146


def test_a_row_without_a_process_is_left_out() -> None:
    listed = processes.compute_processes(FakeRunner(Result(0, LISTING, "")))
    assert [(pid, gpu) for pid, gpu, _mib in listed] == [
        ("12", "GPU-a"),
        ("13", "GPU-a"),
        ("12", "GPU-b"),
        ("14", "GPU-a"),
    ]


def test_a_driver_that_fails_lists_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    assert processes.compute_processes(FakeRunner(Result(9, LISTING, "no driver"))) == []
    monkeypatch.setattr(processes, "find_smi", lambda _host: "")
    assert processes.compute_processes(FakeRunner(Result(0, LISTING, ""))) == []
