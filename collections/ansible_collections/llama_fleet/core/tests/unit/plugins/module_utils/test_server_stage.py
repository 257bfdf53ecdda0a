# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""A whole run over an instance with a unit: what systemd is asked for, and what is left of a runtime that was before."""

from __future__ import annotations

import os
import signal
import time
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils import processes, runtime_problems, server_checks, server_info
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.progress import Progress
from ansible_collections.llama_fleet.core.plugins.module_utils.server_arguments import ARGUMENTS, options_of
from ansible_collections.llama_fleet.core.plugins.module_utils.server_plan import Host
from ansible_collections.llama_fleet.core.plugins.module_utils.server_stage import Stage
from ansible_collections.llama_fleet.core.tests.unit import fake_server
from ansible_collections.llama_fleet.core.tests.unit.fake_systemd import FakeSystemd
from ansible_collections.llama_fleet.core.tests.unit.module_runs import free_port

if typing.TYPE_CHECKING:
    import pathlib

# A server outlives whoever started it.
pytestmark = pytest.mark.filterwarnings("ignore:subprocess:ResourceWarning")


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
    def host(self) -> Host:
        return Host(self.systemd, systemd=True, unit_root=self.units, container_root=self.folder / "containers", configuration=str(self.folder / "none"))

    def run(self, dry: bool = False, **changes: typing.Any) -> dict[str, typing.Any]:
        self.systemd.asked.clear()
        return Stage(options_of({**self.wanted, **changes}), Progress(), self.host, dry).run()

    def facts(self) -> dict[str, typing.Any]:
        return server_info.Inspector(self.folder / "etc", self.folder / "run", self.host, metrics=False).inspect("default")

    def servers(self) -> list[int]:
        return [process.pid for process in processes.started_with("LLAMA_FLEET_INSTANCE", str(self.folder / "etc/instances/default"))]


@pytest.fixture
def site(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> typing.Iterator[Site]:
    # Tests have their files where a unit's user sees nothing.
    monkeypatch.setattr(server_checks, "unreadable", lambda _path, _variable: None)
    monkeypatch.setattr(runtime_problems.server_unit, "unreadable", lambda _path, _variable: None)
    made = Site(tmp_path)
    yield made
    for pid in made.servers():
        os.kill(pid, signal.SIGKILL)


def test_systemd_is_asked_for_no_more_than_a_change_takes(site: Site) -> None:
    first = site.run()
    assert (first["changed"], first["runtime"], first["pid"]) == (True, "systemd", site.systemd.pid)
    assert site.systemd.asked == ["enable", "daemon-reload", "restart"]
    again = site.run()
    assert (again["changed"], again["pid"], site.systemd.asked) == (False, first["pid"], [])
    changed = site.run(parallel=2)
    assert (changed["restarted"], changed["changed_parts"]) == (True, ["llama_server_parallel"])
    assert site.systemd.asked == ["restart"], "no reload where the unit is the same: it can take the GPUs from containers"
    limited = site.run(parallel=2, memory_max="4G")
    assert (limited["changed_parts"], site.systemd.asked) == (["llama_server_memory_max"], ["daemon-reload", "restart"])
    assert limited["memory"][0]["free_mib"] <= 4096
    back = site.run(state="rolled_back", release="", model="")
    assert (back["generation"], site.systemd.asked, site.servers()) == (2, ["daemon-reload", "restart"], [back["pid"]])


def test_what_starts_no_longer_at_boot_does_again_without_a_restart(site: Site) -> None:
    pid = site.run()["pid"]
    site.systemd.enabled = False
    assert site.run(dry=True)["changed"]
    after = site.run()
    assert (after["changed"], after["restarted"], after["pid"], site.systemd.asked) == (True, False, pid, ["enable"])


@pytest.mark.parametrize("again", [{}, {"state": "rolled_back", "to_generation": 1}])
def test_what_runs_again_is_no_longer_stopped_as_wanted(site: Site, again: dict[str, typing.Any]) -> None:
    site.run()
    site.run(state="stopped")
    # Somebody starts it by hand, and then the role finds it running.
    site.systemd(["systemctl", "restart"])
    time.sleep(0.3)
    assert site.facts()["drift"] == ["it runs, though it was stopped", "it runs, but would not start at boot"]
    site.run(**again)
    assert (site.facts()["state"], site.facts()["drift"]) == ("running", [])
    site.systemd(["systemctl", "stop"])
    site.systemd(["systemctl", "disable"])
    assert (site.facts()["state"], site.run(state="stopped")["changed"], site.facts()["state"]) == ("failed", True, "stopped")


def test_what_a_process_left_that_ended_by_itself_is_removed_where_a_unit_follows(site: Site) -> None:
    fake_server.crash(site.run(runtime="process")["pid"], site.port)
    assert (site.folder / "run" / "default.json").exists()
    assert site.run()["runtime"] == "systemd"
    assert list((site.folder / "run").iterdir()) == []


def test_a_release_that_crashes_gives_way_to_the_old_one(site: Site) -> None:
    site.run()
    with pytest.raises(ProblemError, match=r"llama-server was ended by SIGILL[\s\S]*generation 1 is back in service"):
        site.run(release=fake_server.release(site.folder, "broken", crash="SIGILL"))
    assert site.servers() == [site.systemd.pid]
    assert not site.run()["changed"]


@pytest.mark.parametrize(("before", "after"), [("process", "systemd"), ("systemd", "process")])
def test_another_runtime_leaves_nothing_of_the_one_before(site: Site, before: str, after: str) -> None:
    old = site.run(runtime=before)["pid"]
    new = site.run(runtime=after)
    assert (new["runtime"], new["changed_parts"]) == (after, ["llama_server_runtime"])
    assert site.servers() == [new["pid"]] != [old]
    assert len(list(site.units.iterdir())) == (after == "systemd")
    assert not site.run(runtime=after)["changed"]
    back = site.run(state="rolled_back", release="", model="")
    assert (back["runtime"], site.servers()) == (before, [back["pid"]])
    assert len(list(site.units.iterdir())) == (before == "systemd")


@pytest.mark.parametrize(("before", "after"), [("process", "systemd"), ("systemd", "process")])
def test_another_runtime_that_is_not_good_leaves_the_one_before(site: Site, before: str, after: str) -> None:
    site.run(runtime=before)
    with pytest.raises(ProblemError, match="generation 1 is back in service"):
        site.run(runtime=after, release=fake_server.release(site.folder, "broken", crash="no"))
    assert len(site.servers()) == 1
    assert len(list(site.units.iterdir())) == (before == "systemd")
    assert not site.run(runtime=before)["changed"]


def test_it_is_stopped_and_removed_once(site: Site) -> None:
    site.run()
    assert site.run(dry=True, state="stopped")["changed"]
    assert (site.facts()["state"], site.facts()["drift"]) == ("running", [])
    assert site.run(state="stopped")["changed"]
    assert (site.servers(), site.systemd.enabled) == ([], False)
    assert (site.facts()["state"], site.facts()["drift"]) == ("stopped", [])
    assert not site.run(state="stopped")["changed"]
    assert site.run()["restarted"]
    assert (site.facts()["state"], site.facts()["drift"]) == ("running", [])
    assert site.run(state="absent")["changed"]
    assert (site.servers(), list(site.units.iterdir()), (site.folder / "etc/instances/default").exists()) == ([], [], False)
    assert not site.run(state="absent")["changed"]
