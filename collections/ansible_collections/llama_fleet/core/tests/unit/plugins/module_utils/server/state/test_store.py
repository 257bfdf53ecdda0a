# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import json
import os
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.server.state import store as server_store
from ansible_collections.llama_fleet.core.tests.unit.fakes.generations import content

if typing.TYPE_CHECKING:
    import pathlib


def test_a_generation_is_whole_and_keeps_its_secret(tmp_path: pathlib.Path) -> None:
    store = server_store.Store(tmp_path / "default")
    assert (store.current(), store.next_number(), store.all()) == (None, 1, [])
    generation = store.write(content(api_keys=("s3cret", "t0p")))
    assert store.current() is None, "nothing points at it yet"
    store.switch(generation)
    assert os.readlink(tmp_path / "default" / "current") == "generations/1"
    modes = {path.name: f"{path.stat().st_mode & 0o777:o}" for path in generation.path.iterdir()}
    assert modes == {"environment": "640", "unit": "644", "manifest.json": "640", "api-key": "400"}
    assert (generation.path / "api-key").read_text(encoding="utf-8") == "s3cret\nt0p\n"
    for name in ("environment", "unit", "manifest.json"):
        assert "s3cret" not in generation.text(name)
        assert "t0p" not in generation.text(name)
    manifest = json.loads(generation.text("manifest.json"))
    assert manifest["environment"]["LLAMA_FLEET_GENERATION"] == "1"
    assert len(manifest["api_key_sha256"]) == 64


def test_old_generations_go_and_the_good_ones_stay(tmp_path: pathlib.Path) -> None:
    store = server_store.Store(tmp_path / "default")
    for number in range(1, 13):
        generation = store.write(content(model_size=number))
        if number <= 8:
            store.switch(store.mark_good(generation))
    store.prune(5)
    assert [found.number for found in store.all()] == [4, 5, 6, 7, 8, 12]
    assert store.next_number() == 13
    good = store.last_good(8)
    assert good is not None
    assert good.number == 7


def test_leftovers_of_a_killed_run_are_no_generations(tmp_path: pathlib.Path) -> None:
    store = server_store.Store(tmp_path / "default")
    folder = tmp_path / "default" / "generations"
    (folder / ".1.new").mkdir(parents=True)
    (folder / ".1.new" / "environment").touch()
    (folder / "1").mkdir()
    assert store.all() == []
    assert store.write(content()).number == 1
    assert os.listdir(folder) == ["1"]


def test_the_current_generation_stays_whatever_it_is(tmp_path: pathlib.Path) -> None:
    store = server_store.Store(tmp_path / "default")
    for number in range(1, 5):
        generation = store.write(content(model_size=number))
        if number == 1:
            store.switch(generation)
        elif number < 4:
            store.mark_good(generation)
    store.prune(1)
    assert [found.number for found in store.all()] == [1, 3, 4]
