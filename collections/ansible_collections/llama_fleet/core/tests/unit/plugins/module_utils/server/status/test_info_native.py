# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test what the status tells of a native build whose release has taken over."""

from __future__ import annotations

import dataclasses
import json
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.release import background
from ansible_collections.llama_fleet.core.plugins.module_utils.server.status import info

if typing.TYPE_CHECKING:
    import pathlib


@pytest.mark.parametrize(
    ("origin", "build", "shown"),
    [("built", "b1", True), ("packed", "b1", True), ("upstream", "b1", False), ("built", "b2", False)],
)
def test_a_switch_is_shown_while_the_native_release_serves(
    tmp_path: pathlib.Path, origin: str, build: str, shown: bool
) -> None:
    manifest = {"build": build, "fingerprint": "0" * 64, "origin": origin}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    record = background.Background("target", "b1", outcome=background.SWITCHED, reason="runs b1 native")
    assert info._background(record, str(tmp_path)) == ("runs b1 native" if shown else "")
    kept = dataclasses.replace(record, outcome=background.KEPT, reason="has 0.7")
    assert info._background(kept, str(tmp_path)) == "has 0.7"
