# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import dataclasses
import os
import shutil
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.host import processes
from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import Result
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate.gate import GateError
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes import docker as runtime_docker
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes import engines as container_engines
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes import host_files as server_mounts
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes import registry
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.docker import DockerRuntime
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.host import Host, Place
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.process import ProcessRuntime
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.quadlet import QuadletRuntime
from ansible_collections.llama_fleet.core.plugins.module_utils.server.state.generations import Generation
from ansible_collections.llama_fleet.core.tests.unit.fakes.options import CPU, CUDA
from ansible_collections.llama_fleet.core.tests.unit.fakes.runner import FakeRunner

if typing.TYPE_CHECKING:
    import pathlib

    from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import Runner
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.options import Options

UNIT = "llama-fleet-default.service"
NONE = Result(1, "", "no such container")


class Engines(FakeRunner):
    """systemd, podman and docker with one container, whose process is ``pid``; without one it is not there, and
    ``status`` tells how it ended.
    """

    def __init__(self, pid: int = 0, loaded: bool = True, status: int = 0, compose: str = "docker compose") -> None:
        super().__init__()
        self.pid, self.loaded, self.status, self.compose, self.reload = pid, loaded, status, compose, False

    @property
    def told(self) -> list[str]:
        """What was done, without what was only asked."""
        asked = ("show", "inspect", "version", "--dryrun")
        return [" ".join(command) for command in self.commands if not any(word in asked for word in command)]

    def answer(self, command: list[str]) -> Result:
        if command[:2] == ["systemctl", "show"]:
            state, reload = ("active" if self.pid else "inactive"), ("yes" if self.reload else "no")
            load = f"LoadState={'loaded' if self.loaded else 'not-found'}\nFragmentPath=/run/systemd/generator/{UNIT}"
            return Result(
                0,
                f"{load}\nActiveState={state}\nMainPID=1\nNeedDaemonReload={reload}\n"
                f"ExecMainCode=1\nExecMainStatus={self.status}\n",
                "",
            )
        if "inspect" in command:
            shown = {
                "{{.State.Pid}}": str(self.pid),
                "{{.State.ExitCode}}": str(self.status),
                "{{.HostConfig.RestartPolicy.Name}}": "unless-stopped",
            }
            return (
                Result(0, shown.get(command[4], "x") + "\n", "")
                if self.pid or command[4] == "{{.State.ExitCode}}"
                else NONE
            )
        if command[-1] == "version":
            return Result(0 if " ".join(command[:-1]) == self.compose else 1, "", "")
        if command[-1] == "--dryrun":
            return Result(1, "", 'quadlet-generator: converting "llama-fleet-default.container": unsupported key\n')
        return Result(0, "", "")


def generation(folder: pathlib.Path, text: str = "[Container]\n") -> Generation:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "unit").write_text(text, encoding="utf-8")
    return Generation(1, folder, {"command": [], "environment": {"LLAMA_ARG_PORT": "1"}})


# -- quadlet -----------------------------------------------------------------------------------------


@pytest.fixture
def quadlet(tmp_path: pathlib.Path) -> QuadletRuntime:
    return QuadletRuntime(
        tmp_path, UNIT, Engines(os.getpid()), tmp_path / "system", container_root=tmp_path / "containers"
    )


def test_a_container_file_is_written_and_reloads_only_when_it_changed(
    quadlet: QuadletRuntime, tmp_path: pathlib.Path
) -> None:
    engines = typing.cast("Engines", quadlet.run)
    wanted = generation(tmp_path / "1")
    assert (quadlet.settled(wanted), quadlet.starts_at_boot()) == (False, False)
    assert quadlet.start(wanted).pid == os.getpid(), "the server's process, not podman's"
    assert engines.told == ["systemctl daemon-reload", f"systemctl reset-failed {UNIT}", f"systemctl restart {UNIT}"]
    assert (tmp_path / "containers" / "llama-fleet-default.container").read_text(encoding="utf-8") == "[Container]\n"
    assert (quadlet.settled(wanted), quadlet.starts_at_boot(), quadlet.present()) == (True, True, True)
    engines.commands.clear()
    quadlet.start(wanted)
    assert "systemctl daemon-reload" not in engines.told
    for engines.reload, engines.loaded in ((True, True), (False, False)):
        engines.commands.clear()
        quadlet.start(wanted)
        assert "systemctl daemon-reload" in engines.told, "a run that was killed before it reloaded is made good"


def test_a_unit_of_the_runtime_before_does_not_hide_the_generated_one(
    quadlet: QuadletRuntime, tmp_path: pathlib.Path
) -> None:
    (tmp_path / "system").mkdir()
    (tmp_path / "system" / UNIT).touch()
    quadlet.start(generation(tmp_path / "1"))
    assert os.listdir(tmp_path / "system") == []


def test_stopped_means_after_a_boot_as_well(quadlet: QuadletRuntime, tmp_path: pathlib.Path) -> None:
    engines = typing.cast("Engines", quadlet.run)
    quadlet.start(generation(tmp_path / "1"))
    engines.commands.clear()
    quadlet.stop()
    engines.pid = 0
    assert engines.told == [f"systemctl stop {UNIT}", f"systemctl reset-failed {UNIT}"]
    assert (quadlet.starts_at_boot(), quadlet.present()) == (False, False)
    quadlet.remove()
    assert engines.told[-1] == "systemctl daemon-reload", "the unit that was made of the file is gone, too"
    engines.loaded = False
    engines.commands.clear()
    quadlet.remove()
    assert engines.told == [], "nothing is left to forget"


@pytest.mark.parametrize(
    ("engines", "words"),
    [
        (Engines(status=1), "llama-server ended with exit status 1"),
        (Engines(status=132), "SIGILL: this release uses instructions"),
        (Engines(loaded=False), "podman's generator made no unit of .*: .*unsupported key"),
    ],
)
def test_a_container_that_does_not_start_says_why(engines: Engines, words: str, tmp_path: pathlib.Path) -> None:
    runtime = QuadletRuntime(tmp_path, UNIT, engines, tmp_path / "system", container_root=tmp_path / "containers")
    with pytest.raises(GateError, match=words):
        runtime.start(generation(tmp_path / "1"))


# -- docker ------------------------------------------------------------------------------------------


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


def test_nothing_waits_for_a_docker_that_hangs_but_for_its_end(docker: DockerRuntime) -> None:
    docker.stop()
    docker.remove()
    docker.start_at_boot()
    docker.log_lines(3)
    assert all(setting["timeout"] for setting in typing.cast("Engines", docker.run).settings)


def place(options: Options, run: Runner | None = None) -> Place:
    return Place(options.folder, options.runtime_root, Host(run or FakeRunner()))


def test_a_runtime_is_made_with_what_the_options_say(tmp_path: pathlib.Path) -> None:
    options = dataclasses.replace(CUDA, root=tmp_path, stop_timeout=9)
    made = registry.named("docker").at(place(options), options)
    assert isinstance(made, DockerRuntime)
    assert ([file.name for file in made.private], made.stop_seconds) == (["api-key", "tls-certificate", "tls-key"], 9)
    assert (made.user, made.folder) == (server_mounts.container_user(options), options.folder)
    plain = registry.named("process").at(place(options), options)
    assert isinstance(plain, ProcessRuntime)
    assert plain.stop_seconds == 9
    names = list(registry.RUNTIMES)
    assert [registry.named(name).at(place(options), options).name for name in names] == names


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


# -- both --------------------------------------------------------------------------------------------


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


def test_the_monitor_of_a_container_is_no_server(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = dataclasses.replace(CPU, root=tmp_path)
    server, monitor = processes.find(os.getpid()), processes.Process(2, 1)
    monkeypatch.setattr(processes, "started_with", lambda _name, _value: [monitor])
    monkeypatch.setattr(processes, "in_unit", lambda _pid, _unit: True)
    assert registry.own("quadlet", place(options, Engines(os.getpid())), options) == [server]
    assert registry.own("systemd", place(options, Engines()), options) == [monitor]
