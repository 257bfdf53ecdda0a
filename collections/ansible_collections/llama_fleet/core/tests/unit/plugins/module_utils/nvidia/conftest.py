# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""A host with GPUs for the tests of nvidia: bare, until a test fills it."""

from __future__ import annotations

import typing

import pytest

from ansible_collections.llama_fleet.core.tests.unit.fakes.gpu_host import FakeGpuHost

if typing.TYPE_CHECKING:
    import pathlib


@pytest.fixture
def fake(tmp_path: pathlib.Path) -> FakeGpuHost:
    return FakeGpuHost(tmp_path)
