# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import dataclasses
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import table, workers
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import values as server_values
from ansible_collections.llama_fleet.core.tests.unit.fakes.options import CPU, CUDA

RPC = {"rpc": "10.0.0.7:50052"}


@pytest.mark.parametrize(
    ("options", "changes", "problem"),
    [
        (CPU, {"extra_options": RPC}, "llama_server_devices: expected the workers' devices, RPC0 and so on"),
        (CUDA, {"extra_options": RPC}, "llama_server_devices: expected the workers' devices, RPC0 and so on"),
        (CPU, {"extra_options": {"LLAMA_ARG_RPC": "a:1"}}, "llama_server_devices: expected the workers' devices"),
        (CPU, {"devices": ("RPC0",)}, "expected a device of this host, found RPC0. Fix: Name its worker as rpc"),
        (
            CPU,
            {
                "extra_options": {**RPC, "models-dir": "/m"},
                "model": "",
                "allow": ("router", "rpc"),
                "devices": ("RPC0",),
            },
            "expected no workers for a router",
        ),
        (CPU, {"extra_options": RPC, "devices": ("RPC0",)}, ""),
        (CUDA, {"extra_options": RPC, "devices": ("CUDA0", "RPC0", "RPC1")}, ""),
        (CPU, {}, ""),
    ],
)
def test_workers_need_their_devices(options: typing.Any, changes: dict[str, typing.Any], problem: str) -> None:
    wrong = server_values.value_problems(dataclasses.replace(options, **{"allow": ("rpc",), **changes}))
    assert len(wrong) == bool(problem)
    assert problem in " ".join(map(str, wrong))


def test_a_server_is_tested_without_its_workers() -> None:
    variables = {"LLAMA_ARG_RPC": "a:1", "LLAMA_ARG_DEVICE": "CUDA0,RPC0", "LLAMA_ARG_PORT": "1"}
    assert workers.without(variables) == {"LLAMA_ARG_DEVICE": "CUDA0", "LLAMA_ARG_PORT": "1"}
    assert workers.without({**variables, "LLAMA_ARG_DEVICE": "RPC0"})["LLAMA_ARG_DEVICE"] == "none"
    assert workers.without({"LLAMA_ARG_DEVICE": "RPC0"}) == {"LLAMA_ARG_DEVICE": "RPC0"}
    assert "accepted the devices RPC0 and" in workers.warning(variables)
    assert workers.warning({}) == ""


def test_layers_go_to_workers_without_a_gpu_here() -> None:
    def layers(options: typing.Any) -> list[str]:
        made = table.settings(options, 4, options.devices)
        return [setting.value for setting in made if setting.environment == "LLAMA_ARG_N_GPU_LAYERS"]

    wanted = dataclasses.replace(CPU, devices=("RPC0",), n_gpu_layers="12")
    assert layers(wanted) == []
    assert layers(dataclasses.replace(wanted, extra_options=RPC)) == ["12"]
