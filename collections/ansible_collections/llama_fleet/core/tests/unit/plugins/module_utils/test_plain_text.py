# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test that shown text cannot move a cursor, and that only plain digits are a number."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.llama_fleet.core.plugins.module_utils import plain_text


@given(st.text())
def test_shown_text_moves_no_cursor(text: str) -> None:
    assert all(each.isprintable() or each in "\n\t" for each in plain_text.printable(text))


def test_shown_text_is_cut_and_plain_text_stays() -> None:
    assert plain_text.printable("a\tb\nü €") == "a\tb\nü €"
    assert plain_text.printable("\x1b[31mred\x9b") == "\\x1b[31mred\\x9b"
    assert plain_text.printable("x" * 20, most=5) == "xxxx…"


def test_a_line_stays_one_line() -> None:
    assert plain_text.line("a\nb\tc\u202ed") == "a\\nb\\tc\\u202ed"


@pytest.mark.parametrize(
    ("text", "number"), [("0", 0), ("18", 18), ("9" * 18, 10**18 - 1), ("9" * 19, None), ("-1", None), ("\u0664", None)]
)
def test_only_a_few_plain_digits_are_a_number(text: str, number: int | None) -> None:
    assert plain_text.whole(text) == number
    assert plain_text.whole(text, 7) == (7 if number is None else number)
