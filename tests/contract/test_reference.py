# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The documents agree with the code."""

import pathlib
import runpy

ROOT = pathlib.Path(__file__).resolve().parents[2]


def test_the_reference_is_what_the_specs_say() -> None:
    rendered = runpy.run_path(str(ROOT / "docs" / "make_reference.py"))["render"]()
    assert (ROOT / "docs" / "reference.md").read_text(encoding="utf-8") == rendered, (
        "run: python docs/make_reference.py"
    )
