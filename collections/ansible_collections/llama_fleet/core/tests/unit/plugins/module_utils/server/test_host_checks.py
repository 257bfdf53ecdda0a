# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import dataclasses
import os
import socket
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.host import processes
from ansible_collections.llama_fleet.core.plugins.module_utils.server import host_checks
from ansible_collections.llama_fleet.core.plugins.module_utils.server.instance import Instance
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.host import RuntimeHost
from ansible_collections.llama_fleet.core.tests.unit.fakes import server as fake_server
from ansible_collections.llama_fleet.core.tests.unit.fakes.options import CPU
from ansible_collections.llama_fleet.core.tests.unit.fakes.runner import FakeRunner

if typing.TYPE_CHECKING:
    import pathlib


@pytest.fixture
def wanted(tmp_path: pathlib.Path) -> dict[str, typing.Any]:
    return {
        "root": tmp_path / "etc",
        "runtime_root": tmp_path / "run",
        "runtime": "process",
        "host": "127.0.0.1",
        "release": fake_server.release(tmp_path),
        "model": fake_server.model(tmp_path / "model.gguf"),
    }


def subjects(wanted: dict[str, typing.Any], *wrong: str, dry: bool = False, **changes: typing.Any) -> list[str]:
    options = dataclasses.replace(CPU, **{**wanted, **changes})
    host = RuntimeHost(FakeRunner(), configuration=f"{wanted['release']}/none")
    own = [found for found in [processes.find(os.getpid())] if found and changes.get("state") == "own"]
    found = host_checks.instance_problems(Instance(options, host), own, dry, wrong)
    return [problem.subject for problem in found]


def test_release_and_model_may_be_missing_in_a_plan_only(wanted: dict[str, typing.Any], tmp_path: pathlib.Path) -> None:
    missing = {"release": str(tmp_path / "none"), "model": str(tmp_path / "none.gguf")}
    assert subjects(wanted, **missing) == ["llama_server_release", "llama_server_model"]
    assert subjects(wanted, dry=True, **missing) == []


def test_a_variable_that_is_wrong_in_itself_is_not_looked_at(wanted: dict[str, typing.Any]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert subjects(wanted, port=port, memory_max="1G") == ["llama_server_memory_max", "llama_server_port"]
        assert subjects(wanted, "llama_server_port", port=port) == []
        assert subjects(wanted, "llama_server_root", port=port, memory_max="1G") == []


def test_what_is_in_the_place_of_the_link_is_in_the_way(wanted: dict[str, typing.Any]) -> None:
    link = wanted["root"] / "instances" / CPU.instance / "current"
    link.mkdir(parents=True)
    assert subjects(wanted) == [str(link)]
    assert subjects(wanted, state="absent") == []
