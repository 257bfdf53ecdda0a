# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test that values for display are truncated, printable and bounded."""

from __future__ import annotations

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils import untrusted
from ansible_collections.llama_fleet.core.plugins.module_utils.untrusted import Said, ShapeError
from ansible_collections.llama_fleet.core.plugins.plugin_utils.shown import Shown


def test_what_is_only_told_comes_cut_and_printable() -> None:
    assert untrusted.check("a\x1b[2J\nb", Said(9)) == "a\\x1b[2J\nb"
    assert untrusted.check("x" * 9, Said(4)) == "xxx…"
    shown = {"a\x07": [1, None, True, 0.5, ("b\x1b",)]}
    assert untrusted.check(shown, Shown()) == {"a\\x07": [1, None, True, 0.5, ["b\\x1b"]]}


@pytest.mark.parametrize(
    ("value", "clause"),
    [
        ([0] * 5, "it[4] comes after 5 values, expected that many at most"),
        ([[[[0]]]], "it[0][0][0][0] is 4 levels deep, expected 3 at most"),
        ([float("nan")], "it[0] is neither text, a finite number, true, false, null, a list nor an object"),
        ([b"x"], "it[0] is neither text, a finite number, true, false, null, a list nor an object"),
    ],
)
def test_what_is_told_has_bounds(value: object, clause: str) -> None:
    with pytest.raises(ShapeError) as refused:
        untrusted.check(value, Shown(most=5, deep=3), "it")
    assert str(refused.value) == clause
