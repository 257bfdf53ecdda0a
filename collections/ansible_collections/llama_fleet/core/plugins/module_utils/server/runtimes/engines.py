# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Ask podman and docker, which take the same commands, for containers and images, and run commands in an image."""

from __future__ import annotations

import dataclasses
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.host import commands, processes
from ansible_collections.llama_fleet.core.plugins.module_utils.plain_text import whole
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes import host_files as server_mounts
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.options import CUDA

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import Result, Runner
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.options import Options

# Seconds for a question that takes a tenth of one: an engine whose daemon hangs never answers.
TIME_LIMIT = 20.0


@dataclasses.dataclass(frozen=True)
class Container:
    """A container of podman or docker, by its name."""

    engine: str
    name: str
    run: Runner

    def shown(self, template: str) -> str:
        """Return what ``inspect`` prints for ``template``; empty without such a container, an engine or an answer."""
        return self._asked(template).stdout.strip()

    def surely(self, template: str) -> str:
        """Return the same, but raise ProblemError if the engine hangs, which says nothing about the container."""
        done = self._asked(template)
        if done.code == commands.TIMED_OUT:
            fix = f"see systemctl status {self.engine}, and restart it if need be"
            raise ProblemError(
                Problem(
                    self.engine, f"no answer within {TIME_LIMIT:g} s", "an engine that tells of its containers", fix
                )
            )
        return done.stdout.strip()

    def _asked(self, template: str) -> Result:
        done = self.run([self.engine, "container", "inspect", "--format", template, self.name], timeout=TIME_LIMIT)
        return done if done.ok else dataclasses.replace(done, stdout="")

    def process(self) -> processes.Process | None:
        """Return the container's first process by the host's number; None if the container does not run."""
        pid = self.surely("{{.State.Pid}}")
        return processes.find(int(pid)) if whole(pid) is not None else None

    def remove(self) -> None:
        self.run([self.engine, "rm", "--force", "--volumes", self.name], timeout=3 * TIME_LIMIT)


def image_is_here(engine: str, image: str, run: Runner) -> bool:
    return run([engine, "image", "inspect", "--format", "x", image], timeout=TIME_LIMIT).ok


def pull(engine: str, image: str, run: Runner, on_line: typing.Callable[[str], None]) -> str:
    """Fetch an image and return why that failed, or an empty string."""
    done = run([engine, "pull", image], on_line=on_line)
    lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
    return "" if done.ok else (lines[-1] if lines else f"exit status {done.code}")


def tester(options: Options, engine: str, gpus: typing.Sequence[str], labels: str, run: Runner) -> Runner:
    """Return a Runner for the release's programs in the image, with the user and the files that the server will have.

    A release can run on the host and not in the image: that is known before the switch. ``gpus`` are the engine's
    arguments that hand on GPUs, ``labels`` what it appends to a volume's options.
    """
    user = server_mounts.container_user(options)
    first = [engine, "run", "--rm", "--pull=never", "--network=none", "--cgroupns=private", f"--user={user}:{user}"]
    first += ["--read-only", "--cap-drop=all", "--security-opt=no-new-privileges", "--workdir=/"]
    first += gpus if options.backend == CUDA else []

    def inside(call: commands.Call) -> commands.Result:
        names = [f"--env={name}" for name in sorted(call.env or {})]
        volumes = [f"--volume={path}:{path}:ro{labels}" for path in server_mounts.mounts(options, call.command)]
        entry = [f"--entrypoint={call.command[0]}", options.image, *call.command[1:]]
        return dataclasses.replace(call, command=[*first, *names, *volumes, *entry]).by(run)

    return commands.through(inside)
