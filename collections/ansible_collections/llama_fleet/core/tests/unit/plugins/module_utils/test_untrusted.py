# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test that values of known types pass, and anything else is refused with one clause."""

from __future__ import annotations

import json
import typing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.llama_fleet.core.plugins.module_utils import untrusted
from ansible_collections.llama_fleet.core.plugins.module_utils.untrusted import (
    Address,
    Flag,
    Inside,
    Many,
    Maybe,
    Number,
    Plain,
    Real,
    Record,
    ShapeError,
    Table,
    Text,
    Word,
)

FILE = Record(
    {"name": Text(untrusted.NAME), "size": Number(most=10**15)},
    {"sha256": Text(untrusted.SHA256), "note": Maybe(Text(), "")},
)
LISTING = Record({"files": Many(FILE, most=3)}, {"parts": Table(Text()), "signed": Flag(), "speed": Real(most=10.0)})

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.sampled_from(["files", "name", "size", "parts"]) | st.text(), inner)
    ),
    max_leaves=20,
)


def test_what_the_shape_names_comes_through_and_nothing_else() -> None:
    text = (
        '{"files": [{"name": "a.gguf", "size": 3, "other": 1, "note": null}], "parts": {"x": "y"}, "signed": true, '
        '"speed": 2, "more": []}'
    )
    wanted = {"files": [{"name": "a.gguf", "size": 3, "note": ""}], "parts": {"x": "y"}, "signed": True, "speed": 2.0}
    assert untrusted.parse(text, LISTING) == wanted
    assert untrusted.parse(text.encode(), LISTING) == wanted


@pytest.mark.parametrize(
    ("value", "clause"),
    [
        ([], "it is a list, expected an object"),
        ({}, "it has no files"),
        ({"files": {}}, "it.files is an object, expected a list"),
        ({"files": [None]}, "it.files[0] is null, expected an object"),
        ({"files": [{}] * 4}, "it.files has 4 entries, expected 3 at most"),
        ({"files": [{"name": "a"}]}, "it.files[0] has no size"),
        (
            {"files": [{"name": "../a", "size": 1}]},
            f"it.files[0].name is '../a', expected a text like {untrusted.NAME}",
        ),
        ({"files": [{"name": "a\n", "size": 1}]}, f"it.files[0].name is 'a\\n', expected a text like {untrusted.NAME}"),
        ({"files": [{"name": 7, "size": 1}]}, "it.files[0].name is 7, expected a text"),
        (
            {"files": [{"name": "a", "size": True}]},
            "it.files[0].size is True, expected a whole number from 0 to 1000000000000000",
        ),
        (
            {"files": [{"name": "a", "size": -1}]},
            "it.files[0].size is -1, expected a whole number from 0 to 1000000000000000",
        ),
        (
            {"files": [{"name": "a", "size": 1.0}]},
            "it.files[0].size is 1.0, expected a whole number from 0 to 1000000000000000",
        ),
        (
            {"files": [{"name": "a", "size": 1, "note": "\x1b[2J"}]},
            "it.files[0].note is '\\x1b[2J', expected printable text",
        ),
        (
            {"files": [{"name": "a", "size": 1, "note": "\ud800"}]},
            "it.files[0].note is '\\ud800', expected printable text",
        ),
        (
            {"files": [{"name": "a", "size": 1, "note": "x" * 5000}]},
            "it.files[0].note has 5000 characters, expected 4096 at most",
        ),
        ({"files": [], "parts": {"\x07": "x"}}, "a name in it.parts is '\\x07', expected printable text"),
        (
            {"files": [], "parts": {str(n): "" for n in range(10_001)}},
            "it.parts has 10001 entries, expected 10000 at most",
        ),
        ({"files": [], "signed": 1}, "it.signed is 1, expected true or false"),
        ({"files": [], "speed": float("nan")}, "it.speed is nan, expected a number from 0 to 10"),
        ({"files": [], "speed": 10**5000}, "it.speed is a very large number, expected a number from 0 to 10"),
    ],
)
def test_anything_else_is_told_with_its_place(value: object, clause: str) -> None:
    with pytest.raises(ShapeError) as refused:
        untrusted.check(value, LISTING, "it")
    assert str(refused.value) == clause


@pytest.mark.parametrize("text", ["", "{", b"\xff\xfe\x00", "[" * 200_000, "1" * 5000, "nul"])
def test_what_is_no_json(text: str | bytes) -> None:
    with pytest.raises(ShapeError, match=r"^the answer is not JSON$"):
        untrusted.parse(text, LISTING, "the answer")


def test_a_document_has_a_limit() -> None:
    with pytest.raises(ShapeError, match=r"^the document is longer than 10 bytes$"):
        untrusted.parse(" " * 11, LISTING, limit=10)
    assert untrusted.parse('{"files":[]}', LISTING, limit=12) == {"files": []}


@pytest.mark.parametrize(
    ("shape", "value", "clause"),
    [
        (Word(), "a\0b", "it is 'a\\x00b', expected text without NUL and surrogates"),
        (Word(), "\ud800", "it is '\\ud800', expected text without NUL and surrogates"),
        (Word(3), "four", "it has 4 characters, expected 3 at most"),
        (Word(), 1, "it is 1, expected a text"),
        (Inside(), "../a", "it is '../a', expected a relative path without '..'"),
        (Inside(), "/a", "it is '/a', expected a relative path without '..'"),
        (Inside(), "a/../../b", "it is 'a/../../b', expected a relative path without '..'"),
        (Inside(), "a//b", "it is 'a//b', expected a relative path without '..'"),
        (Inside(), "./a", "it is './a', expected a relative path without '..'"),
        (Inside(), "..", "it is '..', expected a relative path without '..'"),
        (Inside(), "", "it is '', expected a relative path without '..'"),
        (Inside(), "a\n", "it is 'a\\n', expected printable text"),
        (Inside(), "ä" * 128, "it has a name of more than 255 bytes in it"),
        (Address(), "ftp://h/x", "it is 'ftp://h/x', expected an http or https URL"),
        (Address(), "file:///etc/passwd", "it is 'file:///etc/passwd', expected an http or https URL"),
        (Address("https://h/a/"), "//[bad", "it is '//[bad', expected an http or https URL"),
        (Address(), "https://", "it is 'https://', expected an http or https URL"),
        (Address(), "https://h:0/", "it is 'https://h:0/', expected an http or https URL"),
        (Address(), "https://h:99999/", "it is 'https://h:99999/', expected an http or https URL"),
        (Address(), "https://h/a b", "it is 'https://h/a b', expected an http or https URL"),
        (Plain(1), [[]], "it[0] has too many levels"),
        (Plain(), {"a\0": 1}, "a name in it is 'a\\x00', expected text without NUL and surrogates"),
        (Plain(), [float("inf")], "it[0] is inf, expected a number from -1e+308 to 1e+308"),
        (
            Plain(),
            [1 << 63],
            "it[0] is 9223372036854775808, expected a whole number from -9223372036854775808 to 9223372036854775807",
        ),
        (Record(others=Word()), {"a": 1}, "it.a is 1, expected a text"),
        (Record(others=Word()), {"\0": "x"}, "a name in it is '\\x00', expected text without NUL and surrogates"),
    ],
)
def test_what_is_no_word_path_or_address(shape: untrusted.Shape, value: object, clause: str) -> None:
    with pytest.raises(ShapeError) as refused:
        untrusted.check(value, shape, "it")
    assert str(refused.value) == clause


def test_words_paths_and_addresses_come_through() -> None:
    assert untrusted.check("/models/\x1b\u200d.gguf", Word()) == "/models/\x1b\u200d.gguf"
    assert untrusted.check("a/.b/c-Q4_K_M.gguf", Inside()) == "a/.b/c-Q4_K_M.gguf"
    assert untrusted.check("../files/x", Address("https://h/simple/p/")) == "https://h/simple/files/x"
    value = {"a": [1, 1.5, None, True, {"b": "c"}]}
    assert untrusted.check(value, Plain()) == value
    assert untrusted.check({"a": "1", "b": 2}, Record({"b": Number()}, others=Word())) == {"a": "1", "b": 2}


@given(JSON)
def test_no_json_raises_anything_else(value: typing.Any) -> None:
    try:
        parsed = untrusted.parse(json.dumps(value), LISTING)
    except ShapeError as refused:
        assert str(refused).isprintable()
    else:
        assert set(parsed) <= {"files", "parts", "signed", "speed"}


@pytest.mark.parametrize("value", ["ab/../c", "ab c", " ab", "ab ", "-ab", "ab'"])
def test_a_text_fits_its_pattern_from_end_to_end(value: str) -> None:
    assert untrusted.check("ab", untrusted.Text(r"[a-z]+")) == "ab"
    with pytest.raises(untrusted.ShapeError, match=r"a text like \[a-z\]\+"):
        untrusted.check(value, untrusted.Text(r"[a-z]+"))
