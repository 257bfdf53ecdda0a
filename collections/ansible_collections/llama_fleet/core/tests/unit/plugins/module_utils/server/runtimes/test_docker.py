# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import os
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import Result
from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate.gate import GateError
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes import docker as runtime_docker
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes import host_files as server_mounts
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.docker import DockerRuntime
from ansible_collections.llama_fleet.core.tests.unit.fakes.engines import Engines, generation
from ansible_collections.llama_fleet.core.tests.unit.fakes.runner import FakeRunner

if typing.TYPE_CHECKING:
    import pathlib


@pytest.fixture
def docker(tmp_path: pathlib.Path) -> DockerRuntime:
    return DockerRuntime(tmp_path / "default", Engines(os.getpid()), user=os.getuid(), stop_seconds=7)


@pytest.mark.parametrize("compose", ["docker compose", "docker-compose"])
def test_compose_replaces_the_container_with_the_generations_environment(
    docker: DockerRuntime, compose: str, tmp_path: pathlib.Path
) -> None:
    engines = typing.cast("Engines", docker.run)
    engines.compose = compose
    wanted = generation(tmp_path / "1")
    assert docker.start(wanted).pid == os.getpid()
    (up,) = engines.told
    assert up == (
        f"{compose} --project-name llama-fleet-default --file {wanted.path}/compose.yaml up --detach --force-recreate "
        f"--remove-orphans --timeout 7"
    )
    assert engines.environments[engines.commands.index(up.split())] == {"LLAMA_ARG_PORT": "1"}
    assert docker.starts_at_boot()


def test_keys_are_copied_for_the_containers_user_only(docker: DockerRuntime, tmp_path: pathlib.Path) -> None:
    (tmp_path / "tls.key").write_text("secret\n", encoding="utf-8")
    docker.private = [server_mounts.Private("tls-key", str(tmp_path / "tls.key"), "--ssl-key-file")]
    docker.start(generation(tmp_path / "1"))
    copy = docker.folder / "private" / "tls-key"
    assert (copy.read_text(encoding="utf-8"), f"{copy.stat().st_mode & 0o777:o}") == ("secret\n", "400")
    docker.remove()
    assert not copy.parent.exists()
    (tmp_path / "tls.key").unlink()
    with pytest.raises(GateError, match=r"tls.key cannot be read: No such file"):
        docker.start(generation(tmp_path / "1"))


def test_a_container_of_docker_says_why_it_ended(tmp_path: pathlib.Path) -> None:
    with pytest.raises(GateError, match="ended by SIGSEGV"):
        DockerRuntime(tmp_path, Engines(status=139)).start(generation(tmp_path / "1"))
    refused = FakeRunner(Result(0, "", ""), Result(1, "", "one\nError: no such image\n"), Result(1, "", ""))
    with pytest.raises(GateError, match=r"^Error: no such image$"):
        DockerRuntime(tmp_path, refused).start(generation(tmp_path / "1"))


def test_a_container_of_docker_that_was_ended_for_its_memory_says_so(tmp_path: pathlib.Path) -> None:
    refused = FakeRunner(
        Result(0, "", ""), Result(0, "", ""), Result(0, "0\n", ""), Result(0, "137\n", ""), Result(0, "true\n", "")
    )
    with pytest.raises(GateError, match="ended by SIGKILL: it wanted more memory than its container may have"):
        DockerRuntime(tmp_path, refused).start(generation(tmp_path / "1"))


def test_nothing_waits_for_a_docker_that_hangs_but_for_its_end(docker: DockerRuntime) -> None:
    docker.stop()
    docker.remove()
    docker.start_at_boot()
    docker.log_lines(3)
    assert all(setting["timeout"] for setting in typing.cast("Engines", docker.run).settings)


def test_docker_stops_in_the_time_the_container_was_made_with(docker: DockerRuntime) -> None:
    docker.stop()
    docker.remove()
    told = typing.cast("Engines", docker.run).told
    assert told == ["docker stop llama-fleet-default", "docker rm --force --volumes llama-fleet-default"]


def test_docker_is_asked_only_where_it_is(docker: DockerRuntime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime_docker.shutil, "which", lambda _name: None)
    assert not docker.present()
    assert typing.cast("Engines", docker.run).commands == []
    monkeypatch.setattr(runtime_docker.shutil, "which", lambda _name: "/usr/bin/docker")
    assert docker.present()
