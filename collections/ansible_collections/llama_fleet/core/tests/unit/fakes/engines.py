# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""A host with systemd, podman and docker, and one container."""

from __future__ import annotations

import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import Result
from ansible_collections.llama_fleet.core.plugins.module_utils.server.state.generations import Generation
from ansible_collections.llama_fleet.core.tests.unit.fakes.runner import FakeRunner

if typing.TYPE_CHECKING:
    import pathlib


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
        """Return the commands that change something, without the queries."""
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
