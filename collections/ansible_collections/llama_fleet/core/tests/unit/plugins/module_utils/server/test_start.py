# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Start an instance with a unit: what systemd is asked for, and what a run leaves alone."""

from __future__ import annotations

import time
import typing

import pytest

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
