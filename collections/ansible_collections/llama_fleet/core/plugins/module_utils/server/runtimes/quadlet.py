# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""An instance in a container of podman, as a unit that podman's generator makes of a .container file."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.host import processes
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate.gate import GateError
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.engines import Container
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.systemd import (
    SystemdRuntime,
    out_of_memory,
)

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.state.generations import Generation

CONTAINER_ROOT = pathlib.Path("/etc/containers/systemd")
GENERATORS = (
    "/usr/lib/systemd/system-generators/podman-system-generator",
    "/usr/libexec/podman/quadlet",
    "/usr/lib/podman/quadlet",
)


@dataclasses.dataclass
class QuadletRuntime(SystemdRuntime):
    """Like a unit of our own, but for the file it comes from, and the process, which is in a container."""

    name: str = "quadlet"
    container_root: pathlib.Path = CONTAINER_ROOT

    @property
    def path(self) -> pathlib.Path:
        return self.container_root / f"{pathlib.PurePath(self.unit).stem}.container"

    @property
    def container(self) -> Container:
        return Container("podman", pathlib.PurePath(self.unit).stem, self.run)

    def own(self) -> list[processes.Process]:
        process = self.container.process()
        return [process] if process else []

    def present(self) -> bool:
        if self.path.exists():
            return True
        state = self.show()
        return self._active(state) and "/generator" in state.get("FragmentPath", "")

    def starts_at_boot(self) -> bool:
        """The generator enables what has an [Install] section."""
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
        """The unit's main process is podman's, which waits for the container's."""
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
