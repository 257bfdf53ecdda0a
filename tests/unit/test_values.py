# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Parsing the text of an option or environment variable."""

import pytest

from llama_fleet import values


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("bool", "Yes", True),
        ("bool", "off", False),
        ("int", "-1", -1),
        ("float", "0.5", 0.5),
        ("list", "a, b,,", ["a", "b"]),
        ("dict", "a=true,b=1", {"a": True, "b": "1"}),
        ("dict", ' {"a": [1]}', {"a": [1]}),
        ("path", "~/x", "~/x"),
        ("str", "1_000", "1_000"),
    ],
)
def test_a_text_becomes_a_value_of_its_kind(kind: str, text: str, value: object) -> None:
    assert values.PARSERS[kind](text) == value


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("bool", "2"),
        ("int", "1_000"),
        ("int", " 1"),
        ("float", "nan"),
        ("float", "1_0"),
        ("dict", "a"),
        ("dict", "=1"),
        ("dict", '{"a":' * 50_000),
    ],
)
def test_a_text_of_another_kind_is_refused(kind: str, text: str) -> None:
    with pytest.raises(ValueError):
        values.PARSERS[kind](text)


def test_each_kind_has_a_parser_and_a_description() -> None:
    assert set(values.PARSERS) == set(values.KINDS)
