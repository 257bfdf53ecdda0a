# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""A Hub with a split model, and parameters that take it."""

from __future__ import annotations

import json
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.model.stage import ARGUMENTS
from tests.hub import Hub
from tests.unit.modules.gguf_model.case import REPO, SHARDS, TOKEN, Result, weights

if typing.TYPE_CHECKING:
    import pathlib


@pytest.fixture
def hub(tmp_path: pathlib.Path) -> typing.Iterator[Hub]:
    root = tmp_path / "hub"
    for repo in (REPO, "owner/gated"):
        (root / "repos" / repo).mkdir(parents=True)
        for name in [*SHARDS, "SmolLM-Q8_0.gguf", "mmproj-Q4_K_M.gguf"]:
            (root / "repos" / repo / name).write_bytes(weights(name))
    (root / "repos" / "owner" / "gated" / ".hub.json").write_text(
        '{"gated": true, "granted": ["alice"]}', encoding="utf-8"
    )
    (root / "accounts.json").write_text(json.dumps({TOKEN: "alice", "hf_bob": "bob"}), encoding="utf-8")
    (root / "files").mkdir()
    (root / "simple").mkdir()
    with Hub(root) as hub:
        yield hub


@pytest.fixture
def wanted(hub: Hub, tmp_path: pathlib.Path) -> Result:
    """Parameters that take the split model from the hub."""
    return {
        **{name: argument.get("default") for name, argument in ARGUMENTS.items()},
        "source": REPO,
        "endpoint": hub.url,
        "index_url": f"{hub.url}/simple",
        "root": str(tmp_path / "root"),
        "instances": str(tmp_path / "etc"),
        "progress_file": str(tmp_path / "progress"),
    }
