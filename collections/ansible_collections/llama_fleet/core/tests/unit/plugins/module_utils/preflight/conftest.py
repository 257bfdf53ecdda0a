# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""A host and a network on which everything is, for the tests of preflight."""

from __future__ import annotations

import typing

import pytest

from ansible_collections.llama_fleet.core.tests.unit.fakes.preflight import Network, everything, with_memory

if typing.TYPE_CHECKING:
    import pathlib


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    return everything(monkeypatch)


@pytest.fixture
def root(tmp_path: pathlib.Path) -> pathlib.Path:
    return with_memory(tmp_path)
