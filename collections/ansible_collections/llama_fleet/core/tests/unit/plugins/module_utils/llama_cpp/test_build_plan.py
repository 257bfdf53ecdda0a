# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import pathlib

from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.build_plan import existing
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.source import Revision


def test_an_existing_release_is_planned_as_its_manifest_says() -> None:
    parts = {"backend": "cpu"}
    manifest = {
        "build": "v0.8.0",
        "commit": "1" * 40,
        "nightly": "b7",
        "fingerprint": "2" * 64,
        "fingerprint_parts": parts,
    }
    plan = existing(pathlib.Path("/releases/x"), manifest)
    assert plan.revision == Revision("1" * 40, "v0.8.0", "b7")
    assert (plan.path, plan.manifest, plan.would_compile) == (pathlib.Path("/releases/x"), manifest, False)
    assert (plan.parts, plan.fingerprint) == (parts, "2" * 64)
    older = existing(pathlib.Path("/releases/x"), {"build": "b7", "fingerprint": "2" * 64})
    assert older.revision == Revision("", "b7", "")
