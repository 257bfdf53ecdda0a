# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Run an instance in a container of podman: its generator makes a unit from a .container file."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import re
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.host import processes
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate.gate import GateError
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes import engines as container_engines
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes import quadlet_file as server_quadlet
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes import requirements as requirement
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.engines import Container
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.host import CONTAINER_ROOT
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.systemd import (
    SystemdRuntime,
    out_of_memory,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.options import CUDA

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import Runner
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.host import Place, RuntimeHost
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.runtime import Report
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.options import Options
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.state.generations import Generation

_OLDEST_PODMAN = (4, 4)
_CDI = ("etc/cdi", "var/run/cdi")
GENERATORS = (
    "/usr/lib/systemd/system-generators/podman-system-generator",
    "/usr/libexec/podman/quadlet",
    "/usr/lib/podman/quadlet",
)


@dataclasses.dataclass
class QuadletRuntime(SystemdRuntime):
    """A Podman container that systemd manages. The host's own release runs inside O(image)."""

    container_root: pathlib.Path = CONTAINER_ROOT
    name: typing.ClassVar[str] = "quadlet"
    automatic: typing.ClassVar[bool] = False
    engine: typing.ClassVar[str] = "podman"
    installs: typing.ClassVar[str] = "quadlet"

    @classmethod
    def at(cls, place: Place, options: Options | None = None) -> QuadletRuntime:
        del options
        host = place.host
        return cls(place.folder, place.unit, host.run, host.unit_root, container_root=host.container_root)

    @staticmethod
    def render(options: Options, command: typing.Sequence[str], variables: typing.Mapping[str, str]) -> dict[str, str]:
        return {"unit": server_quadlet.render(options, command, variables)}

    @staticmethod
    def requirements(options: Options, host: RuntimeHost, report: Report | None) -> list[Problem]:
        problems = [*requirement.container(options, QuadletRuntime.name, host.euid), *_podman(options, host)]
        return problems or requirement.image(options, QuadletRuntime.engine, host.run, report)

    @staticmethod
    def runner(options: Options, run: Runner, inside: bool) -> Runner:
        gpus = ["--device", server_quadlet.CDI_DEVICE]
        return container_engines.tester(options, QuadletRuntime.engine, gpus, ",z", run) if inside else run

    @property
    def path(self) -> pathlib.Path:
        return self.container_root / f"{pathlib.PurePath(self.unit).stem}.container"

    @property
    def container(self) -> Container:
        return Container(self.engine, pathlib.PurePath(self.unit).stem, self.run)

    def own(self) -> list[processes.Process]:
        process = self.container.process()
        return [process] if process else []

    def present(self) -> bool:
        if self.path.exists():
            return True
        state = self.show()
        return self._active(state) and "/generator" in state.get("FragmentPath", "")

    def starts_at_boot(self) -> bool:
        """Return whether the file is there: the generator enables every unit with an [Install] section."""
        return self.path.exists()

    def start_at_boot(self) -> None:
        """Nothing to do."""

    def start(self, generation: Generation) -> processes.Process:
        # A unit of that name in /etc hides the generated one, in case a run was killed before it removed it.
        with contextlib.suppress(FileNotFoundError):
            (self.unit_root / self.unit).unlink()
        try:
            return super().start(generation)
        except GateError as error:
            if self.show().get("LoadState") != "loaded":
                raise GateError(f"podman's generator made no unit of {self.path}: {self._refusal()}") from error
            raise

    def _refusal(self) -> str:
        for generator in GENERATORS:
            lines = self.run([generator, "--dryrun"]).stderr.splitlines()
            said = [line for line in lines if self.path.name in line]
            if said:
                return said[-1]
        return "it does not say why"

    @staticmethod
    def _needs_reload(state: typing.Mapping[str, str]) -> bool:
        # Without a reload systemd has never heard of a unit of a run that was killed after it wrote the file.
        return state.get("NeedDaemonReload") == "yes" or state.get("LoadState") != "loaded"

    def _main_process(self) -> processes.Process | None:
        """Return the container's process: the unit's own main process is podman, which waits for it."""
        try:
            return self.container.process()
        except ProblemError as error:
            raise GateError(str(error)) from error

    def _ending(self) -> str:
        """Podman ends with the status of its container."""
        state = self._after_its_end()
        return processes.ending_of_container(int(state.get("ExecMainStatus") or 0)) + out_of_memory(state)

    def stop(self) -> None:
        self.run(["systemctl", "stop", self.unit])
        self.run(["systemctl", "reset-failed", self.unit])
        # What is generated cannot be disabled. The file is in the generation as well: the next start puts it back.
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()

    def remove(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()
        if self.show().get("LoadState") == "loaded":
            self.run(["systemctl", "daemon-reload"])


def _podman(options: Options, host: RuntimeHost) -> list[Problem]:
    if not host.systemd:
        no_systemd, wanted = "quadlet, and systemd is not PID 1 here", "a runtime that this host has"
        return [Problem(requirement.RUNTIME, no_systemd, wanted, "use docker, process or auto")]
    done = host.run(["podman", "--version"], timeout=container_engines.TIME_LIMIT)
    version = re.search(r"(\d+)\.(\d+)", done.stdout)
    wanted = "podman 4.4 or newer"
    if not done.ok or version is None:
        fix = "install it, or use another llama_server_runtime"
        return [Problem("podman", "no podman on this host", wanted, fix)]
    if (int(version[1]), int(version[2])) < _OLDEST_PODMAN:
        return [Problem("podman", done.stdout.strip(), wanted, "use systemd or docker, or a newer distribution")]
    return [*_generator(host.root), *(_cdi(host.root) if options.backend == CUDA else [])]


def _generator(root: pathlib.Path) -> list[Problem]:
    if any((root / generator.lstrip("/")).exists() for generator in GENERATORS):
        return []
    fix = "install what this distribution calls podman-systemd or podman"
    return [Problem("podman", "no generator of units", "podman with quadlet", fix)]


def _cdi(root: pathlib.Path) -> list[Problem]:
    described = [path for folder in _CDI for pattern in ("*.yaml", "*.json") for path in (root / folder).glob(pattern)]
    if any(b"nvidia.com/gpu" in path.read_bytes() for path in described):
        return []
    no_description = "no description of nvidia.com/gpu in /etc/cdi or /var/run/cdi"
    fix = "run nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml, and again after each change of driver or GPU"
    return [Problem("NVIDIA CDI", no_description, "GPUs that podman can hand on", fix)]
