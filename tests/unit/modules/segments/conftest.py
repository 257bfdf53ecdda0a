# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import hashlib
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.transfer.request import Wanted
from tests.unit.modules.segments.case import DATA, NAME, SIZE, make_hub, repo

if typing.TYPE_CHECKING:
    import pathlib

    from tests.hub import Hub


@pytest.fixture
def hub(tmp_path: pathlib.Path) -> typing.Iterator[Hub]:
    with make_hub(tmp_path / "hub") as hub:
        yield hub


@pytest.fixture
def mirror(tmp_path: pathlib.Path) -> typing.Iterator[Hub]:
    with make_hub(tmp_path / "mirror") as mirror:
        yield mirror


@pytest.fixture
def wanted(hub: Hub, tmp_path: pathlib.Path) -> Wanted:
    return Wanted(NAME, hashlib.sha256(DATA).hexdigest(), SIZE, tmp_path / "parts" / "x", (repo(hub),))
