# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""An instance in a container of docker, made of the generation's compose file."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.host import files, processes
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate.gate import GateError
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes import compose_file as server_compose
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.engines import TIME_LIMIT, Container
from ansible_collections.llama_fleet.core.plugins.module_utils.untrusted import whole

if typing.TYPE_CHECKING:
    import pathlib

    from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import Runner
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.host_files import Private
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.state.generations import Generation

_POLICY = "unless-stopped"
# Docker's own work beyond the time that the server has for its end.
_PATIENCE = 300.0


def compose_command(run: Runner) -> list[str]:
    """Docker's own compose, or the program of that name that came before; empty where neither is there."""
    for words in (["docker", "compose"], ["docker-compose"]):
        if run([*words, "version"], timeout=TIME_LIMIT).ok:
            return words
    return []


@dataclasses.dataclass
class DockerRuntime:
    """One container that docker's daemon keeps running;

    ``private`` are the files of which ``user`` gets copies when it starts.
    """

    folder: pathlib.Path
    run: Runner
    private: typing.Sequence[Private] = ()
    user: int = 0
    stop_seconds: int = 15
    name: str = "docker"

    @property
    def container(self) -> Container:
        return Container("docker", f"llama-fleet-{self.folder.name}", self.run)

    @property
    def log(self) -> str:
        return f"docker logs {self.container.name}"

    def own(self) -> list[processes.Process]:
        process = self.container.process()
        return [process] if process else []

    def present(self) -> bool:
        return shutil.which("docker") is not None and bool(self.container.surely("{{.Id}}"))

    def settled(self, generation: Generation) -> bool:
        """A container is what it was made as; the process tells of which generation that was."""
        del generation
        return True

    def starts_at_boot(self) -> bool:
        return self.container.shown("{{.HostConfig.RestartPolicy.Name}}") == _POLICY

    def start_at_boot(self) -> None:
        self.run(["docker", "update", "--restart", _POLICY, self.container.name], timeout=TIME_LIMIT)

    def start(self, generation: Generation) -> processes.Process:
        self._copy_private()
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

    def writes(self, generation: Generation) -> list[tuple[pathlib.Path, int]]:
        """What docker itself writes is its own: it keeps the container that it has where it cannot make another."""
        del generation
        return [
            (self._copies / file.name, os.stat(file.source).st_size)
            for file in self.private
            if os.path.exists(file.source)
        ]

    def _copy_private(self) -> None:
        """Keys where the container's user, and nobody else, can read them: also after a boot, when docker asks
        nobody.
        """
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
        """In the time that the container was made with.

        Docker remembers that it was stopped: it stays so after a boot.
        """
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
