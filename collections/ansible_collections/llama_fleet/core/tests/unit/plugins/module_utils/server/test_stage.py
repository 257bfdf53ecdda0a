# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""A whole run over an instance with a unit: what systemd is asked for, and what is left of a runtime that was
before.
"""

from __future__ import annotations

import time
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.server.proof import checks as server_checks
from ansible_collections.llama_fleet.core.tests.unit.fakes import server as fake_server
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
    assert site.facts()["drift"] == ["it runs, though it was stopped", "it runs, but would not start at boot"]
    site.run(**again)
    assert (site.facts()["state"], site.facts()["drift"]) == ("running", [])
    site.systemd(["systemctl", "stop"])
    site.systemd(["systemctl", "disable"])
    assert (site.facts()["state"], site.run(state="stopped")["changed"], site.facts()["state"]) == (
        "failed",
        True,
        "stopped",
    )


def test_what_a_process_left_that_ended_by_itself_is_removed_where_a_unit_follows(site: Site) -> None:
    fake_server.crash(site.run(runtime="process")["pid"], site.port)
    assert (site.folder / "run" / "default.json").exists()
    assert site.run()["runtime"] == "systemd"
    assert list((site.folder / "run").iterdir()) == []


def test_a_release_that_hangs_in_its_test_leaves_the_old_one_as_it_is(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid = site.run()["pid"]
    monkeypatch.setattr(server_checks, "TEST_LIMIT", 0.5)
    with pytest.raises(
        ProblemError,
        match=(
            r"^llama-server: expected .*, found no answer to its configuration test within 0.5 s, which "
            r"says nothing of the options"
        ),
    ):
        site.run(release=fake_server.release(site.folder, "stuck", hangs_in_its_test=True))
    assert (site.servers(), site.systemd.asked) == ([pid], [])


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
    assert (site.servers(), list(site.units.iterdir()), (site.folder / "etc/instances/default").exists()) == (
        [],
        [],
        False,
    )
    assert not site.run(state="absent")["changed"]
