# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Start an instance with a unit: what systemd is asked for, and what a run leaves alone."""

from __future__ import annotations

import time
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.host import files
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes import unit_file as server_unit
from ansible_collections.llama_fleet.core.tests.unit.fakes.stage import Site, staged

if typing.TYPE_CHECKING:
    import pathlib

# A server outlives whoever started it.
pytestmark = pytest.mark.filterwarnings("ignore:subprocess:ResourceWarning")


@pytest.fixture
def site(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> typing.Iterator[Site]:
    with staged(tmp_path, monkeypatch) as made:
        yield made


def test_systemd_is_asked_for_no_more_than_a_change_takes(site: Site) -> None:
    first = site.run()
    assert (first["changed"], first["runtime"], first["pid"]) == (True, "systemd", site.systemd.pid)
    assert site.systemd.asked == ["enable", "daemon-reload", "restart"]
    again = site.run()
    assert (again["changed"], again["pid"], site.systemd.asked) == (False, first["pid"], [])
    changed = site.run(parallel=2)
    assert (changed["restarted"], changed["changed_parts"]) == (True, ["llama_server_parallel"])
    assert site.systemd.asked == ["restart"], (
        "no reload where the unit is the same: it can take the GPUs from containers"
    )
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


# How the unit of an earlier version said when it is started again.
EARLIER = ("Restart=on-failure", "RestartSec=5", "StartLimitBurst=5")


def earlier(site: Site, monkeypatch: pytest.MonkeyPatch) -> int:
    """Start the server with the unit of an earlier version; return its PID."""
    with monkeypatch.context() as old:
        old.setattr(server_unit, "RESTART", EARLIER)
        return int(site.run()["pid"])


def check_settled(site: Site, pid: int) -> None:
    """Assert that the server ``pid`` still runs as generation 1 and that nothing is left to do."""
    assert (site.servers(), site.facts()["drift"], site.facts()["generation"]) == ([pid], [], 1)
    settled = site.run()
    assert (settled["changed"], settled["pid"], site.systemd.asked) == (False, pid, [])


def test_a_unit_of_another_version_is_installed_without_a_restart(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    pid = earlier(site, monkeypatch)
    planned = site.run(dry=True)
    assert (planned["changed"], planned["changed_parts"], planned["generation"]) == (True, ["unit"], 1)
    assert "-StartLimitBurst=5" in str(planned["diff"]) or "RestartSteps=6" in str(planned["diff"])
    after = site.run()
    assert (after["changed"], after["restarted"], after["pid"], after["changed_parts"]) == (True, False, pid, ["unit"])
    assert site.systemd.asked == ["daemon-reload"]
    check_settled(site, pid)
    assert site.run(parallel=2)["changed_parts"] == ["llama_server_parallel"]
    back = site.run(state="rolled_back", release="", model="")
    assert (back["generation"], site.facts()["drift"]) == (1, [])


@pytest.mark.parametrize(("function", "count"), [("write_atomic", 1), ("write_atomic", 2), ("write_json", 1)])
def test_a_run_that_is_killed_while_it_installs_a_unit_restarts_nothing_later(
    site: Site, monkeypatch: pytest.MonkeyPatch, function: str, count: int
) -> None:
    pid = earlier(site, monkeypatch)
    write = getattr(files, function)
    calls: list[str] = []

    def killed(path: pathlib.Path, *arguments: typing.Any) -> None:
        calls.append(str(path))
        if len(calls) == count:
            raise KeyboardInterrupt
        write(path, *arguments)

    with monkeypatch.context() as short, pytest.raises(KeyboardInterrupt):
        short.setattr(files, function, killed)
        site.run()
    again = site.run()
    assert (again["changed"], again["restarted"], again["pid"]) == (True, False, pid)
    check_settled(site, pid)


def test_a_unit_that_a_server_would_notice_restarts_it(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as old:
        old.setattr(server_unit, "RESTART", (*EARLIER, "Nice=5"))
        pid = site.run()["pid"]
    after = site.run()
    assert (after["restarted"], after["changed_parts"], after["generation"]) == (True, ["unit"], 2)
    assert site.servers() == [after["pid"]] != [pid]


def test_a_generation_that_was_changed_by_hand_is_made_anew_with_a_restart(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    earlier(site, monkeypatch)
    (environment,) = (site.folder / "etc/instances").glob("*/current/environment")
    environment.write_text(f"{environment.read_text(encoding='utf-8')}LLAMA_ARG_THREADS=99\n", encoding="utf-8")
    assert site.run()["restarted"]


@pytest.mark.parametrize("again", [{}, {"state": "rolled_back", "to_generation": 1}])
def test_what_runs_again_is_no_longer_stopped_as_wanted(site: Site, again: dict[str, typing.Any]) -> None:
    site.run()
    site.run(state="stopped")
    # Somebody starts it by hand, and then the role finds it running.
    site.systemd(["systemctl", "restart"])
    time.sleep(0.3)
    assert site.facts()["drift"] == ["it runs, although it was stopped", "it runs, but would not start at boot"]
    site.run(**again)
    assert (site.facts()["state"], site.facts()["drift"]) == ("running", [])
    site.systemd(["systemctl", "stop"])
    site.systemd(["systemctl", "disable"])
    assert (site.facts()["state"], site.run(state="stopped")["changed"], site.facts()["state"]) == (
        "failed",
        True,
        "stopped",
    )
