# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""A server drains before any stop: whole runs over real processes, which report their number of requests."""

from __future__ import annotations

import os
import signal
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.server import drain as server_drain
from ansible_collections.llama_fleet.core.tests.unit.fakes import server as fake_server
from ansible_collections.llama_fleet.core.tests.unit.fakes.stage import Site, staged

if typing.TYPE_CHECKING:
    import pathlib

pytestmark = pytest.mark.filterwarnings("ignore:subprocess:ResourceWarning")


@pytest.fixture
def site(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> typing.Iterator[Site]:
    monkeypatch.setattr(server_drain, "PAUSE", 0.1)
    with staged(tmp_path, monkeypatch) as made:
        yield made


def busy(site: Site, name: str = "busy", **behaviour: typing.Any) -> str:
    return fake_server.release(site.folder, name, **{"busy": [3, 3, 0], **behaviour})


STOPS: dict[str, dict[str, typing.Any]] = {
    "option change": {"parallel": 2},
    "rollback": {"state": "rolled_back", "release": "", "model": ""},
    "new release": {"release": "other"},
    "another runtime": {"runtime": "process"},
    "down": {"state": "stopped"},
    "absent": {"state": "absent"},
}


@pytest.mark.parametrize("runtime", ["systemd", "process"])
@pytest.mark.parametrize("stop", STOPS, ids=[name.replace(" ", "-") for name in STOPS])
def test_whatever_stops_it_waits_until_nothing_is_in_flight(site: Site, stop: str, runtime: str) -> None:
    site.run(runtime=runtime, threads=1)
    first = site.run(runtime=runtime, release=busy(site))
    change = dict(STOPS[stop])
    if change.get("release") == "other":
        change["release"] = fake_server.release(site.folder, "other")
    elif stop == "another runtime":
        change["runtime"] = "process" if runtime == "systemd" else "systemd"
    result = site.run(**{"runtime": runtime, "release": str(site.folder / "busy"), **change})
    assert (result["changed"], result["in_flight"], result["cut"]) == (True, 3, 0)
    # Root is told that the folders of tests are closed to its servers' user.
    assert [text for text in result["warnings"] if " runs as root, " not in text] == []
    assert first["pid"] not in site.servers()


def test_what_does_not_end_is_cut_after_the_time_that_it_had_and_told(site: Site) -> None:
    wanted: dict[str, typing.Any] = {"release": busy(site, busy=[2]), "drain_timeout": 1}
    site.run(**wanted)
    changed = site.run(**wanted, parallel=2)
    assert (changed["in_flight"], changed["cut"]) == (2, 2)
    assert changed["warnings"] == [server_drain.Drained(2, 2).warning]
    stopped = site.run(**wanted, state="stopped")
    assert (stopped["cut"], stopped["warnings"], site.servers()) == (2, [server_drain.Drained(2, 2).warning], [])


def test_the_old_one_is_as_it_was_until_it_has_drained(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill while a run waits is a kill before the switch."""
    site.run(release=busy(site))
    seen: list[typing.Any] = []

    def looked(*arguments: typing.Any) -> server_drain.Drained:
        del arguments
        seen.append(
            (os.readlink(site.folder / "etc/instances/default/current"), site.systemd.asked[:], len(site.servers()))
        )
        return server_drain.Drained()

    monkeypatch.setattr(server_drain, "drain", looked)
    site.run(release=str(site.folder / "busy"), parallel=2)
    assert seen == [("generations/1", [], 1)]


def test_one_that_hangs_is_replaced_without_a_wait(site: Site) -> None:
    wanted: dict[str, typing.Any] = {"runtime": "process", "stop_timeout": 1, "ready_timeout": 5}
    pid = site.run(**wanted)["pid"]
    os.kill(pid, signal.SIGSTOP)
    after = site.run(**wanted)
    assert (after["restarted"], after["in_flight"], after["cut"]) == (True, -1, -1)
    assert site.servers() == [after["pid"]]


def test_one_that_sleeps_is_not_woken_for_it(site: Site) -> None:
    wanted: dict[str, typing.Any] = {"runtime": "process", "release": busy(site, sleeps=True, tells=True)}
    site.run(**wanted)
    log = site.folder / "run" / "default.log"
    log.write_text("", encoding="utf-8")
    changed = site.run(**wanted, parallel=2)
    assert (changed["in_flight"], changed["cut"]) == (0, 0)
    assert log.with_name("default.log.1").read_text(encoding="utf-8").splitlines() == ["asked /props"]


def test_a_run_that_changes_nothing_asks_for_nothing_in_flight(site: Site) -> None:
    wanted: dict[str, typing.Any] = {"runtime": "process", "release": busy(site, tells=True)}
    site.run(**wanted)
    again = site.run(**wanted)
    assert (again["changed"], again["in_flight"], again["cut"]) == (False, 0, 0)
    assert "/metrics" not in (site.folder / "run" / "default.log").read_text(encoding="utf-8")


def test_how_long_it_may_take_makes_no_other_generation(site: Site) -> None:
    site.run()
    assert not site.run(drain_timeout=99)["changed"]
