# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""An instance on disk and in the process table: real files, and real processes that carry its marks."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import subprocess
import sys
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.host import processes
from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import Result
from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate import metrics as server_metrics
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.host import RuntimeHost
from ansible_collections.llama_fleet.core.plugins.module_utils.server.status import info as server_info
from ansible_collections.llama_fleet.core.tests.unit.fakes.metrics_server import here
from ansible_collections.llama_fleet.core.tests.unit.fakes.runner import FakeRunner

if typing.TYPE_CHECKING:
    import pathlib

    from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate import trust as server_trust

KEY = "s3cr3t-key"
UNIT = "[Unit]\n"


class Systemd(FakeRunner):
    """systemctl of a host with one unit."""

    enabled = True
    main_pid = 0

    def answer(self, command: list[str]) -> Result:
        if command[1] == "is-enabled":
            return Result(0 if self.enabled else 1, "", "")
        return (
            Result(0, f"ActiveState=active\nMainPID={self.main_pid}\n", "")
            if command[1] == "show"
            else Result(0, "", "")
        )


def answered_here(base: str, trust: server_trust.Trust) -> server_metrics.Fetch:
    """Fetch from this process, because the instance's own process only waits."""
    return server_metrics.fetcher(base, here(trust.key))


@dataclasses.dataclass
class Site:
    """A root with one instance, a release and a model."""

    folder: pathlib.Path
    runtime: str = "process"
    systemd: Systemd = dataclasses.field(default_factory=Systemd)
    port: int = 1
    euid: int = 0
    extra: dict[str, typing.Any] = dataclasses.field(default_factory=dict)

    @property
    def instance(self) -> pathlib.Path:
        return self.folder / "etc" / "instances" / "chat"

    @property
    def release(self) -> pathlib.Path:
        return self.folder / "releases" / "b1-0"

    @property
    def model(self) -> pathlib.Path:
        return self.folder / "tiny-Q4_K_M-00001-of-00002.gguf"

    def write(self, number: int = 1, **more: typing.Any) -> pathlib.Path:
        """Write a generation with the files that it refers to, and make it the current one."""
        (self.release / "bin").mkdir(parents=True, exist_ok=True)
        (self.release / "bin" / "llama-server").touch()
        (self.release / "manifest.json").write_text('{"build": "b1", "fingerprint": "f"}', encoding="utf-8")
        for shard in ("1", "2"):
            self.model.with_name(self.model.name.replace("00001", f"0000{shard}")).write_bytes(b"GGUF" * 10)
        generation = self.instance / "generations" / str(number)
        generation.mkdir(parents=True)
        texts = {
            "environment": "A=1\n",
            "unit": UNIT,
            **({"api-key": f"{KEY}\nother\n"} if more.pop("key", False) else {}),
        }
        for name, text in texts.items():
            (generation / name).write_text(text, encoding="utf-8")
        manifest = {
            "number": number,
            "good": True,
            "created": "2026-11-22T09:00:00Z",
            "speed": 12.5,
            "runtime": self.runtime,
            "release": str(self.release),
            "release_fingerprint": "f",
            "model": str(self.model),
            "model_size": 80,
            "options": {"host": "127.0.0.1", "port": self.port, "extra_options": {}, **self.extra},
            "environment": {"LLAMA_ARG_DEVICE": "none"},
            "command": [str(self.release / "bin" / "llama-server")],
            "files": {name: hashlib.sha256(text.encode()).hexdigest() for name, text in texts.items()},
            **more,
        }
        (generation / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
        link = self.instance / "current"
        link.unlink(missing_ok=True)
        link.symlink_to(f"generations/{number}")
        return generation

    def inspector(self, **more: typing.Any) -> server_info.Inspector:
        host = RuntimeHost(
            self.systemd,
            systemd=self.runtime == "systemd",
            euid=self.euid,
            unit_root=self.folder / "units",
            container_root=self.folder / "containers",
        )
        return server_info.Inspector(
            self.folder / "etc", self.folder / "run", host, **{"fetcher": answered_here, **more}
        )

    def facts(self, **more: typing.Any) -> server_info.Facts:
        return self.inspector(**more).inspect("chat")

    def stop(self) -> None:
        """As a role leaves it that was asked to stop it."""
        (self.instance / "stopped").touch()

    def record(self, process: processes.Process) -> None:
        (self.folder / "run").mkdir(exist_ok=True)
        (self.folder / "run" / "chat.json").write_text(
            json.dumps({"pid": process.pid, "started": process.started}), encoding="utf-8"
        )

    @contextlib.contextmanager
    def running(
        self, number: int = 1, recorded: bool = True, program: str = sys.executable
    ) -> typing.Iterator[processes.Process]:
        marks = {"LLAMA_FLEET_INSTANCE": str(self.instance), "LLAMA_FLEET_GENERATION": str(number)}
        child = subprocess.Popen(
            [program, "-c", "input('x')"], env={**os.environ, **marks}, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        try:
            assert child.stdout is not None
            assert child.stdout.read(1) == b"x"  # it is past its exec
            process = processes.find(child.pid)
            assert process is not None
            if recorded:
                self.record(process)
            yield process
        finally:
            child.kill()
            child.communicate()


class Docker(Systemd):
    """docker of a host with one container."""

    status = "running"

    def answer(self, command: list[str]) -> Result:
        assert command[:3] == ["docker", "container", "inspect"]
        return Result(
            0,
            {"Pid": str(self.main_pid), "Name": "unless-stopped", "Status": self.status}[
                command[4].strip("{}").rpartition(".")[2]
            ],
            "",
        )
