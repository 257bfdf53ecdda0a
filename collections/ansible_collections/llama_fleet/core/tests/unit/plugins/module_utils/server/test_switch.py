# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Switch an instance to another generation or runtime, and back where the new one is not good."""

from __future__ import annotations

import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError
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


def test_what_a_process_left_that_ended_by_itself_is_removed_where_a_unit_follows(site: Site) -> None:
    fake_server.crash(site.run(runtime="process")["pid"], site.port)
    assert (site.folder / "run" / "default.json").exists()
    assert site.run()["runtime"] == "systemd"
    assert list((site.folder / "run").iterdir()) == []
