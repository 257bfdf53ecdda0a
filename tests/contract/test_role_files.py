# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""An option is declared in its module's options and documentation only; the role's files are made from them."""

from __future__ import annotations

import pathlib
import runpy

import pytest

from tests.contract import option_places

ROOT = pathlib.Path(__file__).resolve().parents[2]
RENDERED: dict[pathlib.Path, str] = runpy.run_path(str(ROOT / "docs" / "role_files.py"))["render_all"]()
CLASSES: dict[pathlib.Path, str] = runpy.run_path(str(ROOT / "docs" / "runtime_classes.py"))["render_all"]()


@pytest.mark.parametrize("path", sorted(RENDERED), ids=lambda path: f"{path.parents[1].name}/{path.parent.name}")
def test_the_files_of_the_roles_are_up_to_date(path: pathlib.Path) -> None:
    assert path.read_text(encoding="utf-8") == RENDERED[path], "run: python docs/make_reference.py"
    assert RENDERED[path].startswith(option_places.GENERATED)


def test_the_list_of_the_runtimes_is_up_to_date() -> None:
    assert {path: path.read_text(encoding="utf-8") for path in CLASSES} == CLASSES, "run: python docs/make_reference.py"


@pytest.mark.parametrize("role", sorted(option_places.ROLES))
def test_an_option_has_at_most_two_hand_written_places(role: str) -> None:
    found = option_places.places(role)
    assert found
    assert {name: places for name, places in found.items() if not 1 <= len(places) <= 2} == {}
