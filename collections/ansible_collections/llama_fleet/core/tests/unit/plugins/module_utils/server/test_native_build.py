# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test when a release is the native one that was built beside an instance."""

from __future__ import annotations

import json
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.server import native_build

if typing.TYPE_CHECKING:
    import pathlib


@pytest.mark.parametrize(("origin", "native"), [("built", True), ("packed", True), ("upstream", False), (None, False)])
def test_a_release_is_native_unless_the_project_published_it(
    tmp_path: pathlib.Path, origin: str | None, native: bool
) -> None:
    if origin:
        manifest = {"build": "b1", "fingerprint": "0" * 64, "origin": origin}
        (tmp_path / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    assert native_build.is_native(str(tmp_path)) is native
    assert native_build.is_native("") is False
