# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.server.state import generations
from ansible_collections.llama_fleet.core.plugins.module_utils.server.state import store as server_store
from ansible_collections.llama_fleet.core.tests.unit.fakes.generations import content

if typing.TYPE_CHECKING:
    import pathlib


def test_the_keys_are_not_even_in_the_repr() -> None:
    assert "s3cret" not in repr(content(api_keys=("s3cret",)))


@pytest.mark.parametrize(
    "changes",
    [
        {"model_size": 2},
        {"release_fingerprint": "0"},
        {"api_keys": ("other",)},
        {"files": {"unit": "x"}},
        {"inputs": {"a": "b"}},
        {"runtime": "exec"},
        {"command": ("a",)},
        {"variables": {}},
    ],
)
def test_every_part_of_the_content_counts(changes: dict[str, typing.Any]) -> None:
    assert content().fingerprint == content().fingerprint
    assert content(**changes).fingerprint != content().fingerprint


@pytest.mark.parametrize("name", ["environment", "unit", "api-key"])
def test_a_file_that_was_changed_by_hand_is_told(tmp_path: pathlib.Path, name: str) -> None:
    generation = server_store.Store(tmp_path / "default").write(content(api_keys=("s3cret",)))
    assert generation.damage() == []
    (generation.path / name).chmod(0o600)
    (generation.path / name).write_text("changed\n", encoding="utf-8")
    assert generation.damage() == [name]


NO_UNIT = generations.text_sha256("")


@pytest.mark.parametrize(
    ("runtime", "unit", "names"),
    [
        ("systemd", "f" * 64, ["environment", "unit"]),
        ("process", NO_UNIT, ["environment"]),
        ("process", "", ["environment"]),
    ],
)
def test_a_manifest_from_before_files_were_noted_names_the_unit_if_there_was_one(
    tmp_path: pathlib.Path, runtime: str, unit: str, names: list[str]
) -> None:
    old = generations.Generation(1, tmp_path, {"runtime": runtime, "unit_sha256": unit, "environment": {}})
    assert sorted(old.files) == names
