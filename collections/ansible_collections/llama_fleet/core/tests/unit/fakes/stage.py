# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""A host with a systemd, and the whole stage of an instance to be run on it within the test's own process."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.host import processes
from ansible_collections.llama_fleet.core.plugins.module_utils.progress import Progress
from ansible_collections.llama_fleet.core.plugins.module_utils.server.instance import Instance
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes import unit_file as server_unit
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.host import RuntimeHost
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.arguments import ARGUMENTS, options_of
from ansible_collections.llama_fleet.core.plugins.module_utils.server.stage import Stage
from ansible_collections.llama_fleet.core.plugins.module_utils.server.status import info as server_info
from ansible_collections.llama_fleet.core.tests.unit.fakes import server as fake_server
from ansible_collections.llama_fleet.core.tests.unit.fakes.systemd import FakeSystemd
from ansible_collections.llama_fleet.core.tests.unit.module_runs import free_port

if typing.TYPE_CHECKING:
    import pathlib

    import pytest


class Site:
    """A host with a systemd, and the stage to be run on it."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.units = folder / "units"
        self.units.mkdir()
        self.systemd = FakeSystemd(self.units)
        self.port = free_port()
        self.wanted: dict[str, typing.Any] = {
            **{name: argument.get("default") for name, argument in ARGUMENTS.items()},
            "release": fake_server.release(folder),
            "model": fake_server.model(folder / "model.gguf"),
            "port": self.port,
            "parallel": 1,
            "ctx_size": 256,
            "cache_ram": 0,
            "root": str(folder / "etc"),
            "runtime_root": str(folder / "run"),
            "runtime": "systemd",
            "ready_timeout": 10,
        }

    @property
    def host(self) -> RuntimeHost:
        return RuntimeHost(
            self.systemd,
            systemd=True,
            unit_root=self.units,
            container_root=self.folder / "containers",
            configuration=str(self.folder / "none"),
        )

    def run(self, dry: bool = False, **changes: typing.Any) -> dict[str, typing.Any]:
        self.systemd.asked.clear()
        return Stage(Instance(options_of({**self.wanted, **changes}), self.host, Progress()), dry).run()

    def facts(self, metrics: bool = False) -> dict[str, typing.Any]:
        return server_info.Inspector(self.folder / "etc", self.folder / "run", self.host, metrics=metrics).inspect(
            "default"
        )

    def servers(self) -> list[int]:
        return [
            process.pid
            for process in processes.started_with("LLAMA_FLEET_INSTANCE", str(self.folder / "etc/instances/default"))
        ]


@contextlib.contextmanager
def staged(folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> typing.Iterator[Site]:
    """Yield a site below ``folder``; its servers end with it."""
    # Tests have their files where a unit's user sees nothing.
    monkeypatch.setattr(server_unit, "unreadable", lambda _path, _variable: None)
    made = Site(folder)
    try:
        yield made
    finally:
        for pid in made.servers():
            os.kill(pid, signal.SIGKILL)
        if made.systemd.process:
            made.systemd.process.wait()
        # What a runtime has started goes while the test's marks still count.
        gc.collect()
