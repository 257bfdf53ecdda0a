# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import dataclasses
import os
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.host import processes
from ansible_collections.llama_fleet.core.plugins.module_utils.server.instance import Instance
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.host import RuntimeHost
from ansible_collections.llama_fleet.core.plugins.module_utils.server.state.generations import Generation
from ansible_collections.llama_fleet.core.tests.unit.fakes.options import CPU
from ansible_collections.llama_fleet.core.tests.unit.fakes.runner import FakeRunner

if typing.TYPE_CHECKING:
    import pathlib


@pytest.fixture
def instance(tmp_path: pathlib.Path) -> Instance:
    options = dataclasses.replace(CPU, root=tmp_path, runtime_root=tmp_path / "run", runtime="process")
    return Instance(options, RuntimeHost(FakeRunner()))


def generation(instance: Instance, number: int = 1, **manifest: typing.Any) -> Generation:
    path = instance.options.folder / "generations" / str(number)
    return Generation(number, path, {"runtime": "process", "options": {}, **manifest})


def test_a_generation_has_its_own_options_and_runtime(instance: Instance) -> None:
    made = generation(instance, runtime="docker", options={"port": 9, "devices": ["CUDA0"], "of_later": 1})
    there = instance.at(made)
    assert (there.options.port, there.options.devices, there.options.host) == (9, ("CUDA0",), CPU.host)
    assert (there.kind.name, instance.runtime(made).name, instance.runtime().name) == ("docker", "docker", "process")
    assert there.options.folder == instance.options.folder


def test_only_the_generation_in_a_process_runs(instance: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    process = processes.find(os.getpid())
    monkeypatch.setattr(processes, "environment", lambda _pid: {"LLAMA_FLEET_GENERATION": "1"})
    settled = type(instance.runtime())
    monkeypatch.setattr(settled, "settled", lambda _self, _generation: True)
    assert instance.runs(generation(instance), process)
    assert not instance.runs(generation(instance, 2), process)
    assert not instance.runs(generation(instance), None)
    assert not instance.runs(None, process)
    monkeypatch.setattr(settled, "settled", lambda _self, _generation: False)
    assert not instance.runs(generation(instance), process)
    assert instance.runs(generation(instance, runtime="exec"), None), "it is the caller's to run"
