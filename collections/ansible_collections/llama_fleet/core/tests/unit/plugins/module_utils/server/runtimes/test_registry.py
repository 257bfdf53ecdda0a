# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""A runtime that only the registry knows is planned, started, shown, stopped and removed like the others."""

from __future__ import annotations

import dataclasses
import os
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.host import processes
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes import host_files as server_mounts
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes import registry
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.docker import DockerRuntime
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.host import Place, RuntimeHost
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.process import ProcessRuntime
from ansible_collections.llama_fleet.core.tests.unit.fakes.engines import Engines
from ansible_collections.llama_fleet.core.tests.unit.fakes.options import CPU, CUDA
from ansible_collections.llama_fleet.core.tests.unit.fakes.runner import FakeRunner
from ansible_collections.llama_fleet.core.tests.unit.fakes.stage import Site, staged

if typing.TYPE_CHECKING:
    import pathlib

    from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import Runner
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.runtime import Report
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.options import Options
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.state.generations import Generation

pytestmark = pytest.mark.filterwarnings("ignore:subprocess:ResourceWarning")


@dataclasses.dataclass
class Supervised(ProcessRuntime):
    """A supervisor's service: a file of its own says what runs, and the process is a plain one."""

    name: typing.ClassVar[str] = "supervised"
    automatic: typing.ClassVar[bool] = False
    installs: typing.ClassVar[str] = "service"

    @staticmethod
    def render(options: Options, command: typing.Sequence[str], variables: typing.Mapping[str, str]) -> dict[str, str]:
        del options, variables
        return {"service": f"exec {' '.join(command)}\n"}

    @staticmethod
    def requirements(options: Options, host: RuntimeHost, report: Report | None) -> list[Problem]:
        del host, report
        return [Problem("supervised", "a port of nobody's", "another")] if options.port == 7 else []

    @property
    def _service(self) -> pathlib.Path:
        return self.runtime_root / f"{self.folder.name}.service"

    def files(self) -> list[pathlib.Path]:
        return [*super().files(), self._service]

    def present(self) -> bool:
        return super().present() or self._service.exists()

    def settled(self, generation: Generation) -> bool:
        return self._service.exists() and self._service.read_text(encoding="utf-8") == generation.text("service")

    def starts_at_boot(self) -> bool:
        return self._service.exists()

    def start_at_boot(self) -> None:
        raise AssertionError("it starts at boot where it is settled")

    def start(self, generation: Generation) -> typing.Any:
        process = super().start(generation)
        self._service.write_text(generation.text("service"), encoding="utf-8")
        return process

    def recorded(self) -> bool:
        return self.starts_at_boot()

    def stop(self) -> None:
        super().stop()
        self._service.unlink(missing_ok=True)


@pytest.fixture
def site(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> typing.Iterator[Site]:
    with staged(tmp_path, monkeypatch) as made:
        made.wanted["stop_timeout"] = 1
        made.run()
        yield made


def service(site: Site) -> pathlib.Path:
    return site.folder / "run" / "default.service"


def test_a_fifth_runtime_is_one_class_and_its_place_in_the_registry(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(registry.RUNTIMES, "supervised", Supervised)
    site.wanted["runtime"] = "supervised"
    with pytest.raises(ProblemError, match="a port of nobody's"):
        site.run(port=7)
    first = site.run()
    assert (first["runtime"], first["changed"], first["ready"], len(site.servers())) == ("supervised", True, True, 1)
    assert service(site).read_text(encoding="utf-8").startswith("exec /"), "what it renders is in the generation"
    assert not list(site.units.iterdir()), "the unit of before is gone"
    again = site.run()
    assert (again["changed"], again["pid"]) == (False, first["pid"])
    assert (site.facts()["runtime"], site.facts()["drift"]) == ("supervised", [])
    service(site).write_text("exec something else\n", encoding="utf-8")
    assert site.facts()["drift"] == ["what is installed is not the service of generation 2"]
    (site.folder / "run" / ".default.service.x.new").touch()
    assert site.run()["restarted"]
    assert sorted(path.name for path in (site.folder / "run").iterdir()) == [
        "default.json",
        "default.log",
        "default.service",
    ], "leftovers of a killed run are swept wherever it writes"
    stopped = site.run(state="stopped")
    assert (stopped["changed"], site.servers(), service(site).exists()) == (True, [], False)
    assert site.run(runtime="systemd")["runtime"] == "systemd"
    assert site.run(state="absent")["changed"]
    assert not service(site).exists()


def test_auto_takes_a_unit_or_else_a_process() -> None:
    for systemd, name in ((True, "systemd"), (False, "process")):
        assert registry.chosen("auto", RuntimeHost(systemd=systemd)).name == name
    assert registry.chosen("docker", RuntimeHost()).name == "docker"


def test_a_name_of_another_version_is_a_process() -> None:
    assert registry.named("launchd").name == "process"


def place(options: Options, run: Runner | None = None) -> Place:
    return Place(options.folder, options.runtime_root, RuntimeHost(run or FakeRunner()))


def test_a_runtime_is_made_with_what_the_options_say(tmp_path: pathlib.Path) -> None:
    options = dataclasses.replace(CUDA, root=tmp_path, stop_timeout=9)
    made = registry.named("docker").at(place(options), options)
    assert isinstance(made, DockerRuntime)
    assert ([file.name for file in made.private], made.stop_seconds) == (["api-key", "tls-certificate", "tls-key"], 9)
    assert (made.user, made.folder) == (server_mounts.container_user(options), options.folder)
    plain = registry.named("process").at(place(options), options)
    assert isinstance(plain, ProcessRuntime)
    assert plain.stop_seconds == 9
    names = list(registry.RUNTIMES)
    assert [registry.named(name).at(place(options), options).name for name in names] == names


def test_the_monitor_of_a_container_is_no_server(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = dataclasses.replace(CPU, root=tmp_path)
    server, monitor = processes.find(os.getpid()), processes.Process(2, 1)
    monkeypatch.setattr(processes, "started_with", lambda _name, _value: [monitor])
    monkeypatch.setattr(processes, "in_unit", lambda _pid, _unit: True)
    assert registry.own("quadlet", place(options, Engines(os.getpid())), options) == [server]
    assert registry.own("systemd", place(options, Engines()), options) == [monitor]
