# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The ways an instance is kept running: a systemd unit, a container of podman or docker, or a process of its own
session.
"""

from __future__ import annotations

import dataclasses
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.host import processes
from ansible_collections.llama_fleet.core.plugins.module_utils.host.processes import ending
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes import compose_file as server_compose
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes import host_files as server_mounts
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes import quadlet_file as server_quadlet
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes import unit_file as server_unit
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes import user as server_user
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.docker import DockerRuntime
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.engines import ENGINES, tester
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.process import (
    STOP_SECONDS,
    ProcessRuntime,
    base_environment,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.quadlet import (
    CONTAINER_ROOT,
    QuadletRuntime,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.requirements import has_systemd, problems
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.systemd import UNIT_ROOT, SystemdRuntime
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.options import INSTANCE_VARIABLE

if typing.TYPE_CHECKING:
    import pathlib

    from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import Runner
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.options import Options
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.state.generations import Generation

__all__ = [
    "CONTAINER_ROOT",
    "NAMES",
    "STOP_SECONDS",
    "UNIT_ROOT",
    "DockerRuntime",
    "ProcessRuntime",
    "QuadletRuntime",
    "Runtime",
    "SystemdRuntime",
    "base_environment",
    "ending",
    "has_systemd",
    "make",
    "of",
    "others",
    "own",
    "problems",
    "rendered",
    "tester",
]

# Those that keep an instance running; with exec, whoever called us does.
NAMES = ("systemd", "quadlet", "docker", "process")


class Runtime(typing.Protocol):
    """Keeps one instance running."""

    name: str

    @property
    def log(self) -> str:
        """Where the server's log is: a file, or the command that shows it."""

    def own(self) -> list[processes.Process]:
        """The instance's living processes, whoever started them."""

    def present(self) -> bool:
        """Whether there is anything of the instance in this runtime: a file, a container, a process."""

    def settled(self, generation: Generation) -> bool:
        """Whether what surrounds the process is as the generation wants it."""

    def starts_at_boot(self) -> bool:
        """Whether the instance comes back after a boot, as far as this runtime can make it."""

    def start_at_boot(self) -> None:
        """Make it come back after a boot."""

    def start(self, generation: Generation) -> processes.Process:
        """Replace what runs by ``generation``. GateError where it does not even start."""

    def writes(self, generation: Generation) -> list[tuple[pathlib.Path, int]]:
        """What a start writes outside of the generation's folder: files, and their size in bytes at most."""

    def death(self, process: processes.Process) -> str:
        """Why ``process`` ended; empty while it lives."""

    def stop(self) -> None:
        """Stop the instance, now and at boot."""

    def remove(self) -> None:
        """Remove what was put outside of the instance's folder."""

    def log_lines(self, count: int) -> list[str]:
        """The last lines that the server logged."""


def of(
    name: str,
    folder: pathlib.Path,
    runtime_root: pathlib.Path,
    run: Runner,
    unit_root: pathlib.Path = UNIT_ROOT,
    container_root: pathlib.Path = CONTAINER_ROOT,
) -> Runtime:
    """The runtime called ``name`` of the instance in ``folder``, to look at."""
    unit = f"llama-fleet-{folder.name}.service"
    if name == "systemd":
        return SystemdRuntime(folder, unit, run, unit_root)
    if name == "quadlet":
        return QuadletRuntime(folder, unit, run, unit_root, container_root=container_root)
    if name == "docker":
        return DockerRuntime(folder, run)
    return ProcessRuntime(folder, runtime_root)


def make(
    name: str,
    options: Options,
    run: Runner,
    unit_root: pathlib.Path = UNIT_ROOT,
    container_root: pathlib.Path = CONTAINER_ROOT,
) -> Runtime:
    """The runtime called ``name`` of the instance that ``options`` describe."""
    found = of(name, options.folder, options.runtime_root, run, unit_root, container_root)
    if isinstance(found, DockerRuntime):
        user = server_mounts.container_user(options)
        return dataclasses.replace(
            found, private=server_mounts.private(options), user=user, stop_seconds=options.stop_timeout
        )
    if isinstance(found, ProcessRuntime):
        return dataclasses.replace(found, stop_seconds=options.stop_timeout, user=server_user.number(options))
    return found


def others(
    name: str,
    options: Options,
    run: Runner,
    unit_root: pathlib.Path = UNIT_ROOT,
    container_root: pathlib.Path = CONTAINER_ROOT,
    systemd: bool | None = None,
    used: typing.Collection[str] = NAMES,
) -> list[Runtime]:
    """The runtimes but ``name`` that have anything of this instance: stop and remove each before another one starts;
    with "", all of them.

    ``used`` are those that the instance has ever had. A docker that hangs is none of its business where it had another
    one.
    """
    possible = NAMES if (has_systemd() if systemd is None else systemd) else ("docker", "process")
    wanted = [each for each in possible if each != name and (each != "docker" or not name or each in used)]
    return [
        runtime
        for runtime in (make(each, options, run, unit_root, container_root) for each in wanted)
        if _present(runtime, runtime.name in used)
    ]


def _present(runtime: Runtime, used: bool) -> bool:
    try:
        return runtime.present()
    except ProblemError:
        if used:
            raise
        return False


def own(current: str, options: Options, run: Runner) -> list[processes.Process]:
    """The instance's living processes;

    ``current`` is the runtime of its current generation, for only an engine knows those in a container.
    """
    if current in ENGINES:
        # Podman's monitor of a container carries the instance's mark as well, and is no server.
        return [*make(current, options, run).own(), *make("process", options, run).own()]
    return processes.started_with(INSTANCE_VARIABLE, str(options.folder))


def rendered(
    options: Options, command: typing.Sequence[str], variables: typing.Mapping[str, str], name: str = ""
) -> dict[str, str]:
    """The files of a generation that ``name``, or the runtime in ``options``, needs."""
    wanted = name or options.runtime
    if wanted == "quadlet":
        return {"unit": server_quadlet.render(options, command, variables)}
    if wanted == "docker":
        return {server_compose.NAME: server_compose.render(options, command, variables)}
    if wanted == "systemd" or (wanted == "auto" and has_systemd()):
        return {"unit": server_unit.render(options, command, variables)}
    return {}
