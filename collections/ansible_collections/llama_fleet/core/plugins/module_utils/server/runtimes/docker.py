# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Run an instance in a container of docker, made from the generation's compose file."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.host import files, processes
from ansible_collections.llama_fleet.core.plugins.module_utils.plain_text import whole
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate.gate import GateError
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes import compose_file as server_compose
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes import engines as container_engines
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes import host_files as server_mounts
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes import requirements as requirement
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.engines import TIME_LIMIT, Container
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import limits as server_limits
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.options import CUDA

if typing.TYPE_CHECKING:
    import pathlib

    from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import Runner
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.host import Place, RuntimeHost
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.host_files import Private
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.runtime import Report
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.options import Options
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.state.generations import Generation

_POLICY = "unless-stopped"
# Seconds for docker's own work, in addition to the server's stop timeout.
_PATIENCE = 300.0


def compose_command(run: Runner) -> list[str]:
    """Return the command of docker compose, or of the older docker-compose; empty if neither is installed."""
    for words in (["docker", "compose"], ["docker-compose"]):
        if run([*words, "version"], timeout=TIME_LIMIT).ok:
            return words
    return []


@dataclasses.dataclass
class DockerRuntime:
    """A Docker Compose service. The host's own release runs inside O(image)."""

    folder: pathlib.Path
    run: Runner
    private: typing.Sequence[Private] = ()
    user: int = 0
    stop_seconds: int = 15
    state: typing.Sequence[str] = ()
    name: typing.ClassVar[str] = "docker"
    automatic: typing.ClassVar[bool] = False
    needs_systemd: typing.ClassVar[bool] = False
    needs_gate_port: typing.ClassVar[bool] = False
    own_control_group: typing.ClassVar[bool] = True
    engine: typing.ClassVar[str] = "docker"
    asks_daemon: typing.ClassVar[bool] = True
    installs: typing.ClassVar[str] = "docker"
    memory_lock_fix: typing.ClassVar[str] = "look for LimitMEMLOCK in the unit's overrides"

    @classmethod
    def at(cls, place: Place, options: Options | None = None) -> DockerRuntime:
        if options is None:
            return cls(place.folder, place.host.run)
        user = server_mounts.container_user(options)
        private, state = server_mounts.private(options), server_mounts.state(options)
        return cls(place.folder, place.host.run, private, user, options.stop_timeout, state)

    @staticmethod
    def render(options: Options, command: typing.Sequence[str], variables: typing.Mapping[str, str]) -> dict[str, str]:
        return {server_compose.NAME: server_compose.render(options, command, variables)}

    @staticmethod
    def requirements(options: Options, host: RuntimeHost, report: Report | None) -> list[Problem]:
        problems = [
            *_limits(options),
            *requirement.container(options, DockerRuntime.name, host.euid),
            *_port(options),
            *_docker(options, host.run),
        ]
        return problems or requirement.image(options, DockerRuntime.engine, host.run, report)

    @staticmethod
    def remarks(options: Options) -> list[str]:
        del options
        return []

    @staticmethod
    def runner(options: Options, run: Runner, inside: bool) -> Runner:
        gpus = ["--gpus", "all"]
        return container_engines.tester(options, DockerRuntime.engine, gpus, "", run) if inside else run

    @property
    def container(self) -> Container:
        return Container(self.engine, f"llama-fleet-{self.folder.name}", self.run)

    @property
    def log(self) -> str:
        return f"docker logs {self.container.name}"

    def own(self) -> list[processes.Process]:
        process = self.container.process()
        return [process] if process else []

    def is_up(self) -> bool:
        return bool(self.own())

    def recorded(self) -> bool:
        # Docker starts again what ends by itself, at once and at boot. What it leaves alone was stopped.
        return self.starts_at_boot() and self.container.shown("{{.State.Status}}") in ("running", "restarting")

    def recorded_process(self, proc: pathlib.Path) -> processes.Process | None:
        """Return None: docker tells every user of its group the same."""
        del proc
        return None

    def present(self) -> bool:
        return shutil.which("docker") is not None and bool(self.container.surely("{{.Id}}"))

    def settled(self, generation: Generation) -> bool:
        """Return True: a container stays as it was made, and its process tells its generation."""
        del generation
        return True

    def starts_at_boot(self) -> bool:
        return self.container.shown("{{.HostConfig.RestartPolicy.Name}}") == _POLICY

    def start_at_boot(self) -> None:
        self.run(["docker", "update", "--restart", _POLICY, self.container.name], timeout=TIME_LIMIT)

    def start(self, generation: Generation) -> processes.Process:
        self._copy_private()
        server_mounts.make_state(self.state, self.user)
        words = ["--project-name", self.container.name, "--file", str(generation.path / server_compose.NAME)]
        up = ["up", "--detach", "--force-recreate", "--remove-orphans", "--timeout", str(self.stop_seconds)]
        done = self.run(
            [*compose_command(self.run), *words, *up], env=generation.variables, timeout=_PATIENCE + self.stop_seconds
        )
        try:
            process = self.container.process() if done.ok else None
        except ProblemError as error:
            raise GateError(str(error)) from error
        if process is None:
            raise GateError(_last_line(done.stderr) if not done.ok else self._ending())
        return process

    def files(self) -> list[pathlib.Path]:
        return []

    def writes(self, generation: Generation) -> list[tuple[pathlib.Path, int]]:
        """Return the copies of private files: docker keeps the container that it has if it cannot make another."""
        del generation
        return [
            (self._copies / file.name, os.stat(file.source).st_size)
            for file in self.private
            if os.path.exists(file.source)
        ]

    def _copy_private(self) -> None:
        """Copy keys to where only the container's user can read them, also after a boot, which we do not see."""
        for file in self.private:
            self._copies.mkdir(mode=0o711, parents=True, exist_ok=True)
            try:
                with open(file.source, encoding="utf-8") as source:
                    text = source.read()
            except OSError as error:
                raise GateError(f"{file.source} cannot be read: {error.strerror}") from error
            files.write_atomic(self._copies / file.name, text, 0o400)
            os.chown(self._copies / file.name, self.user, self.user)

    @property
    def _copies(self) -> pathlib.Path:
        return self.folder / server_compose.PRIVATE

    def death(self, process: processes.Process) -> str:
        return "" if processes.alive(process) else self._ending()

    def _ending(self) -> str:
        code = self.container.shown("{{.State.ExitCode}}")
        memory = (
            ": it wanted more memory than its container may have"
            if self.container.shown("{{.State.OOMKilled}}") == "true"
            else ""
        )
        return (
            f"{processes.ending_of_container(int(code))}{memory}"
            if whole(code) is not None
            else "its container is gone"
        )

    def stop(self) -> None:
        """Stop the container within its stop timeout. Docker remembers that: it stays stopped after a boot."""
        self.run(["docker", "stop", self.container.name], timeout=TIME_LIMIT + self.stop_seconds)

    def remove(self) -> None:
        self.container.remove()
        with contextlib.suppress(OSError):
            shutil.rmtree(self._copies)

    def log_lines(self, count: int) -> list[str]:
        done = self.run(["docker", "logs", "--tail", str(count), self.container.name], timeout=TIME_LIMIT)
        return (done.stdout + done.stderr).splitlines()[-count:]


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "docker compose failed without a word"


def _limits(options: Options) -> list[Problem]:
    if not server_limits.is_share(options.memory_max):
        return []
    share = f"{options.memory_max}, a share, which docker does not support"
    return [Problem("llama_server_memory_max", share, "an amount such as 24G")]


def _port(options: Options) -> list[Problem]:
    if options.port >= 1024:
        return []
    wanted = "a port from 1024 on with docker, which gives a user without rights no lower one"
    return [Problem("llama_server_port", str(options.port), wanted, "choose another port, or use quadlet or systemd")]


def _docker(options: Options, run: Runner) -> list[Problem]:
    done = run(["docker", "version", "--format", "{{.Server.Version}}"], timeout=TIME_LIMIT)
    if done.code == 127:
        fix = "install it, or use another llama_server_runtime"
        return [Problem("docker", "no docker on this host", "docker with compose", fix)]
    if not done.ok:
        said = (done.stderr.strip().splitlines() or [f"exit status {done.code}"])[-1]
        silence = f"no answer from its daemon: {said}"
        return [Problem("docker", silence, "a daemon that runs", "run systemctl start docker")]
    problems = []
    if not compose_command(run):
        fix = "install docker-compose-plugin, or docker-compose where the distribution has no such package"
        problems.append(Problem("docker compose", "neither docker compose nor docker-compose", "one of them", fix))
    if options.backend == CUDA and not run(["nvidia-container-cli", "--version"], timeout=TIME_LIMIT).ok:
        fix = "install nvidia-container-toolkit and run nvidia-ctk runtime configure --runtime=docker"
        wanted = "GPUs that docker can hand on"
        problems.append(Problem("NVIDIA Container Toolkit", "no nvidia-container-cli", wanted, fix))
    return problems
