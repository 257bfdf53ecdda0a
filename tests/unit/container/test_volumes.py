# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The container's volumes: new ones, those of an older image, and such as nobody may write to."""

import pathlib

import pytest

from llama_fleet.container import volumes
from llama_fleet.errors import FleetError


def put(path: pathlib.Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


@pytest.fixture
def state(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / "state"


@pytest.fixture
def models(tmp_path: pathlib.Path) -> pathlib.Path:
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


def test_models_of_the_state_lie_in_their_own_volume(state: pathlib.Path, models: pathlib.Path) -> None:
    for _start in range(2):
        volumes.join(state, models)
        put(state / "models" / "a" / "b" / "model.gguf", "m")
        assert [path.name for path in models.iterdir()] == ["a"]


def test_what_an_older_image_kept_is_found_by_both_paths(state: pathlib.Path, models: pathlib.Path) -> None:
    put(models / "models" / "a" / "b" / "model.gguf", "m")
    put(models / "locks" / "x.lock", "")
    volumes.join(state, models)
    volumes.join(state, models)
    for path in (models / "a", models / "models" / "a", state / "models" / "a"):
        assert (path / "b" / "model.gguf").read_text(encoding="utf-8") == "m"
    assert not (models / "a").is_symlink()


def test_a_move_that_was_cut_off_goes_on(state: pathlib.Path, models: pathlib.Path) -> None:
    put(models / "a" / "first" / "model.gguf", "1")
    put(models / "models" / "a" / "second" / "model.gguf", "2")
    volumes.join(state, models)
    assert sorted(path.parent.name for path in models.glob("a/*/model.gguf")) == ["first", "second"]
    assert (models / "models").is_symlink()


def test_nothing_is_overwritten(state: pathlib.Path, models: pathlib.Path) -> None:
    put(models / "a" / "b" / "model.gguf", "new")
    put(models / "models" / "a" / "b" / "model.gguf", "old")
    volumes.join(state, models)
    assert (models / "a" / "b" / "model.gguf").read_text(encoding="utf-8") == "new"
    assert (models / "models" / "a" / "b" / "model.gguf").read_text(encoding="utf-8") == "old"


def test_a_folder_of_the_state_stays_what_it_is(state: pathlib.Path, models: pathlib.Path) -> None:
    put(state / "models" / "a" / "b" / "model.gguf", "m")
    volumes.join(state, models)
    assert not (state / "models").is_symlink()


def test_a_volume_that_cannot_be_written_is_named(tmp_path: pathlib.Path, models: pathlib.Path) -> None:
    put(tmp_path / "file", "")
    with pytest.raises(FleetError, match=r"expected a folder that user [0-9]+ may write to, found"):
        volumes.join(tmp_path / "file" / "state", models)
