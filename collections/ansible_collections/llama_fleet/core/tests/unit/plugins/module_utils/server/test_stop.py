# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Stop and remove an instance."""

from __future__ import annotations

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
