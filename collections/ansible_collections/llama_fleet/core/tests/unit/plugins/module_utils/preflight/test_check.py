# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT

from __future__ import annotations

from ansible_collections.llama_fleet.core.plugins.module_utils.preflight.check import (
    Check,
    fine,
    not_ok,
    table,
    together,
)


def test_those_that_have_it_are_named() -> None:
    a, b = fine("a", "x", "y"), fine("b", "x", "z")
    assert [check.subject for check in together({"1": [a, b], "2": [a, b], "3": [a]})] == [
        "x",
        "x of instances 1 and 2",
    ]


def test_problems_come_the_worst_first() -> None:
    checks = [
        Check("a", "warning", "", ""),
        Check("b", "ok", "", ""),
        Check("c", "error", "", ""),
        Check("d", "warning", "", ""),
    ]
    assert [check.code for check in not_ok(checks)] == ["c", "a", "d"]


def test_the_table_has_every_check_and_a_sentence_for_each_warning() -> None:
    checks = [fine("a", "disk", "much"), Check("b", "warning", "clock", "late", "on time", "set it")]
    assert table(checks) == [
        "CHECK           FOUND",
        "disk   ok       much",
        "clock  warning  late",
        "clock: expected on time, found late. Fix: Set it.",
    ]
