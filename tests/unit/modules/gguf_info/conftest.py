# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Models on the host and on a Hub, a release, and a client that does not wait."""

from __future__ import annotations

import json
import types
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch import ask as http_ask
from tests.hub import Hub
from tests.unit.modules.gguf_info.case import TOKEN, write_models

if typing.TYPE_CHECKING:
    import pathlib


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Record the seconds between tries instead of waiting."""
    told: list[float] = []
    monkeypatch.setattr(http_ask, "time", types.SimpleNamespace(sleep=told.append))
    return told


@pytest.fixture
def models(tmp_path: pathlib.Path) -> pathlib.Path:
    write_models(tmp_path / "models")
    return tmp_path / "models"


@pytest.fixture
def hub(tmp_path: pathlib.Path) -> typing.Iterator[Hub]:
    root = tmp_path / "hub"
    write_models(root / "repos" / "owner" / "open")
    write_models(root / "repos" / "owner" / "gated")
    (root / "repos" / "owner" / "gated" / ".hub.json").write_text(
        '{"gated": true, "granted": ["alice"]}', encoding="utf-8"
    )
    (root / "accounts.json").write_text(json.dumps({TOKEN: "alice", "hf_bob": "bob"}), encoding="utf-8")
    (root / "files").mkdir()
    (root / "simple").mkdir()
    with Hub(root) as hub:
        yield hub


@pytest.fixture
def release(tmp_path: pathlib.Path) -> pathlib.Path:
    """Write a llama-fit-params that prints its arguments and the model's size as memory, and return its release."""
    program = tmp_path / "release" / "bin" / "llama-fit-params"
    program.parent.mkdir(parents=True)
    program.write_text('#!/bin/sh\necho "CUDA0 $4 $6 $(stat -c %s "$2") "\necho "Host 1 2 3 "\n', encoding="ascii")
    program.chmod(0o755)
    return tmp_path / "release"
