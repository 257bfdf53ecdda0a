# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of the tests of llama_server: an instance whose server starts at once."""

from __future__ import annotations

import typing

import pytest

from ansible_collections.llama_fleet.core.tests.unit.module_runs import Forker, Instance

if typing.TYPE_CHECKING:
    import pathlib


@pytest.fixture(scope="session")
def forker() -> typing.Iterator[Forker]:
    made = Forker()
    yield made
    made.close()


@pytest.fixture
def instance(tmp_path: pathlib.Path, forker: Forker) -> typing.Iterator[Instance]:
    made = Instance(tmp_path, forker)
    yield made
    made.end()
