# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Packed releases on a web server, for the tests of their lookup and of their fetch."""

from __future__ import annotations

import shutil
import typing

import pytest

from ansible_collections.llama_fleet.core.tests.unit.fakes.packed import make_key
from ansible_collections.llama_fleet.core.tests.unit.fakes.site import Handler, Site, fill, served

if typing.TYPE_CHECKING:
    import pathlib


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> typing.Iterator[tuple[pathlib.Path, str]]:
    root = tmp_path_factory.mktemp("site")
    with served(root) as url:
        yield root, url


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("packed")
    for name in ("builder", "other"):
        make_key(folder / name)
    fill(folder / "site", folder / "builder")
    return folder / "site"


@pytest.fixture
def site(tmp_path: pathlib.Path, web: tuple[pathlib.Path, str], packed: pathlib.Path) -> Site:
    root, url = web
    shutil.copytree(packed, root / tmp_path.name)
    Handler.asked.clear()
    return Site(
        root / tmp_path.name,
        f"{url}/{tmp_path.name}",
        *((packed.parent / f"{name}.pub").read_text(encoding="utf-8").strip() for name in ("builder", "other")),
    )
