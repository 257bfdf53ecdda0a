# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.server import result


class Before:
    """A generation that has these files."""

    def __init__(self, **texts: str) -> None:
        self.files = dict.fromkeys(texts, "sha256")
        self.texts = texts

    def text(self, name: str) -> str:
        return self.texts[name]


def diff(before: Before | None, after: dict[str, str]) -> list[tuple[str, str, str]]:
    parts = result.diff_of("/etc/x", typing.cast("typing.Any", before), after)
    assert all(part["before_header"] == part["after_header"] for part in parts)
    return [(part["after_header"], part["before"], part["after"]) for part in parts]


def test_only_files_that_differ_are_in_the_diff() -> None:
    assert diff(None, {"unit": "a"}) == [("/etc/x/unit", "", "a")]
    assert diff(Before(unit="a", environment="b"), {"unit": "a", "environment": "c", "more": "d"}) == [
        ("/etc/x/environment", "b", "c"),
        ("/etc/x/more", "", "d"),
    ]
    assert diff(Before(unit="a"), {}) == [("/etc/x/unit", "a", "")]
    assert diff(Before(unit="a"), {"unit": "a"}) == []
