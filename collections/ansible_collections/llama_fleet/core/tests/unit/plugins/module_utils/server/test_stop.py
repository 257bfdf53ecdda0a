# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Stop and remove an instance."""

from __future__ import annotations

import json
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


def test_a_removed_instance_takes_its_saved_slots_along_but_no_folder_of_others(site: Site) -> None:
    others = site.folder / "home" / "default"
    others.mkdir(parents=True)
    site.wanted["state_root"] = str(others.parent)
    assert not site.run(state="absent")["changed"]
    site.run()
    assert site.run(state="absent")["changed"]
    assert others.is_dir(), "no generation has saved slots"
    site.run()
    old = site.folder / "state" / "default"
    (old / "slots").mkdir(parents=True)
    # The fake server's release knows no slots.
    manifest = site.folder / "etc/instances/default/current/manifest.json"
    written = json.loads(manifest.read_text(encoding="utf-8"))
    written["options"]["extra_options"] = {"slot-save-path": str(old / "slots")}
    manifest.write_text(json.dumps(written), encoding="utf-8")
    # The generation that saved slots is pruned by then.
    for size in (512, 256, 128):
        site.run(ctx_size=size, keep=1)
    assert not [
        path for path in manifest.parents[1].glob("generations/*/manifest.json") if "slot-save-path" in path.read_text()
    ]
    assert site.run(state="absent", dry=True)["changed"]
    assert old.is_dir()
    assert site.run(state="absent")["changed"]
    assert (old.exists(), others.is_dir()) == (False, True)
    assert not site.run(state="absent")["changed"]
