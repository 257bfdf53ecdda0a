# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test the list of folders in which other tools keep models."""

from __future__ import annotations

import os
import pwd
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.caches.places import (
    BLOBS,
    FLAT,
    HUB,
    NAMED,
    RAMALAMA,
    places,
)

if typing.TYPE_CHECKING:
    import pathlib


def below(folder: pathlib.Path, *layouts: tuple[str, str]) -> set[tuple[str, str]]:
    return {(str(folder / name), layout) for name, layout in layouts}


def found_in(folder: pathlib.Path, environment: dict[str, str], **more: typing.Any) -> set[tuple[str, str]]:
    """Return the caches below ``folder``; the machine of the tests may have others."""
    listed = places(environment, **{"units": (), **more})
    return {(place.folder, place.layout) for place in listed if place.folder.startswith(f"{folder}/")}


@pytest.mark.parametrize(
    ("name", "value", "folder", "layouts"),
    [
        ("HF_HUB_CACHE", "hub", "hub", {HUB}),
        ("HUGGINGFACE_HUB_CACHE", "hub", "hub", {HUB}),
        ("HF_HOME", "hf", "hf/hub", {HUB}),
        ("XDG_CACHE_HOME", "cache", "cache/huggingface/hub", {HUB}),
        ("XDG_CACHE_HOME", "cache", "cache/llama.cpp", {FLAT}),
        ("LLAMA_CACHE", "models", "models", {HUB, FLAT}),
        ("OLLAMA_MODELS", "ollama", "ollama", {BLOBS}),
    ],
)
def test_a_variable_names_a_cache(
    name: str, value: str, folder: str, layouts: set[str], tmp_path: pathlib.Path
) -> None:
    (tmp_path / folder).mkdir(parents=True)
    listed = found_in(tmp_path, {name: str(tmp_path / value)}, homes=())
    assert listed == {(str(tmp_path / folder), layout) for layout in layouts}


@pytest.mark.parametrize(
    ("folder", "layout"),
    [
        (".cache/huggingface/hub", HUB),
        (".cache/llama.cpp", FLAT),
        (".ollama/models", BLOBS),
        (".docker/models", BLOBS),
        (".lmstudio/models", NAMED),
        (".cache/lm-studio/models", NAMED),
        (".local/share/ramalama/store", RAMALAMA),
    ],
)
def test_a_home_has_a_cache(folder: str, layout: str, tmp_path: pathlib.Path) -> None:
    (tmp_path / folder).mkdir(parents=True)
    assert found_in(tmp_path, {}, homes=(str(tmp_path),)) == {(str(tmp_path / folder), layout)}


def test_of_whom_the_homes_are(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The homes are those of HOME, of this user, and of the user who called sudo."""
    homes = {name: tmp_path / name for name in ("home", "me", "alice", "bob")}
    for home in homes.values():
        (home / ".ollama/models").mkdir(parents=True)

    def entry(name: str) -> pwd.struct_passwd:
        if name not in homes:
            raise KeyError(name)
        return pwd.struct_passwd((name, "x", 1, 1, "", str(homes[name]), "/bin/sh"))

    monkeypatch.setattr(pwd, "getpwuid", lambda _user: entry("me"))
    monkeypatch.setattr(pwd, "getpwnam", entry)
    environment = {"HOME": str(homes["home"]), "SUDO_USER": "alice", "DOAS_USER": "nobody-there"}
    assert found_in(tmp_path, environment) == below(
        tmp_path, *((f"{name}/.ollama/models", BLOBS) for name in ("home", "me", "alice"))
    )


def test_a_folder_that_is_not_there_or_relative_is_left_out(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hub").mkdir()
    (tmp_path / "file").write_text("", encoding="ascii")
    monkeypatch.chdir(tmp_path)
    assert found_in(tmp_path, {"HF_HUB_CACHE": "hub", "OLLAMA_MODELS": str(tmp_path / "file")}, homes=("",)) == set()


def test_a_tilde_is_the_home(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "hf/hub").mkdir(parents=True)
    assert found_in(tmp_path, {"HF_HOME": "~/hf"}, homes=()) == below(tmp_path, ("hf/hub", HUB))


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("ollama.service.d/override.conf", 'Environment="OLLAMA_MODELS={}"'),
        ("ollama.service.d/override.conf", "Environment=OLLAMA_HOST=0.0.0.0 OLLAMA_MODELS={} OLLAMA_DEBUG=1"),
        ("ollama.service", 'Environment="OLLAMA_HOST=0.0.0.0" "OLLAMA_MODELS={}"'),
    ],
)
def test_ollama_s_unit_names_a_folder(path: str, line: str, tmp_path: pathlib.Path) -> None:
    units, models = tmp_path / "units", tmp_path / "disk/models"
    models.mkdir(parents=True)
    (units / path).parent.mkdir(parents=True)
    (units / path).write_text(f"[Service]\n{line.format(models)}\n", encoding="utf-8")
    assert found_in(tmp_path, {}, homes=(), units=(str(units),)) == {(str(models), BLOBS)}


def test_other_lines_of_a_unit_name_none(tmp_path: pathlib.Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "ollama.service").write_text(
        f"#Environment=OLLAMA_MODELS={tmp_path}/models\nExecStart=/x OLLAMA_MODELS={tmp_path}/models\n",
        encoding="utf-8",
    )
    os.mkfifo(tmp_path / "other")
    assert found_in(tmp_path, {}, homes=(), units=(str(tmp_path),)) == set()
