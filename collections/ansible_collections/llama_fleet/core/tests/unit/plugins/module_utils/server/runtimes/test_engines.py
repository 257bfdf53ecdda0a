# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import shutil
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import Result
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate.gate import GateError
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes import engines as container_engines
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes import host_files as server_mounts
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes import registry
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.docker import DockerRuntime
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.quadlet import QuadletRuntime
from ansible_collections.llama_fleet.core.tests.unit.fakes.engines import NONE, UNIT, Engines, generation
from ansible_collections.llama_fleet.core.tests.unit.fakes.options import CPU, CUDA
from ansible_collections.llama_fleet.core.tests.unit.fakes.runner import FakeRunner

if typing.TYPE_CHECKING:
    import pathlib


HANGS = Result(124, "", "docker did not end within 20 s")


class Hanging(Engines):
    def answer(self, command: list[str]) -> Result:
        return HANGS if "inspect" in command else super().answer(command)


def test_an_engine_that_hangs_is_a_problem_and_not_a_container_that_is_not_there(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _name: "/usr/bin/docker")
    run = FakeRunner(*[HANGS] * 3)
    for asked in (
        DockerRuntime(tmp_path, run).present,
        DockerRuntime(tmp_path, run).own,
        QuadletRuntime(tmp_path, UNIT, run).own,
    ):
        with pytest.raises(ProblemError, match=r"expected .*, found no answer within 20 s"):
            asked()
    assert {setting["timeout"] for setting in run.settings} == {container_engines.TIME_LIMIT}


def test_an_engine_that_hangs_after_a_start_is_a_start_that_failed(tmp_path: pathlib.Path) -> None:
    with pytest.raises(GateError, match=r"docker: expected .*, found no answer within 20 s"):
        DockerRuntime(tmp_path, FakeRunner(Result(0, "", ""), Result(0, "", ""), HANGS)).start(
            generation(tmp_path / "1")
        )
    hanging = Hanging()
    runtime = QuadletRuntime(tmp_path, UNIT, hanging, tmp_path / "system", container_root=tmp_path / "containers")
    with pytest.raises(GateError, match=r"podman: expected .*, found no answer within 20 s"):
        runtime.start(generation(tmp_path / "2"))


def test_a_configuration_is_tested_in_the_image() -> None:
    run = FakeRunner(Result(0, "Available devices:\n", ""))
    user = server_mounts.container_user(CUDA)
    inside = registry.named("quadlet").runner(CUDA, run, inside=True)
    assert inside(["/r/bin/llama-server", "--list-devices"], env={"LLAMA_ARG_PORT": "1"}, cwd="/", timeout=9).ok
    (command,) = run.commands
    assert command[:4] == ["podman", "run", "--rm", "--pull=never"]
    assert command[-3:] == ["--entrypoint=/r/bin/llama-server", CUDA.image, "--list-devices"]
    assert {
        f"--user={user}:{user}",
        "--read-only",
        "--cap-drop=all",
        "--env=LLAMA_ARG_PORT",
        f"--volume={CUDA.release}:{CUDA.release}:ro,z",
    } <= {*command}
    assert command[command.index("--device") + 1] == "nvidia.com/gpu=all"
    assert (run.environments, run.settings[0]["timeout"]) == ([{"LLAMA_ARG_PORT": "1"}], 9)
    assert registry.named("systemd").runner(CPU, run, inside=True) is run
    assert registry.named("quadlet").runner(CUDA, run, inside=False) is run


def test_a_container_that_stopped_has_no_process() -> None:
    for shown in (Result(0, "0\n", ""), Result(0, "<no value>\n", ""), NONE):
        assert container_engines.Container("podman", "x", FakeRunner(shown)).process() is None
