# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Give every reader of foreign documents any JSON and any text.

Each must return a value or raise the error that it documents, and never another one.
"""

from __future__ import annotations

import contextlib
import json
import pathlib
import re
import tempfile
import typing

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ansible_collections.llama_fleet.core.plugins.module_utils import untrusted
from ansible_collections.llama_fleet.core.plugins.module_utils.untrusted import Plain, ShapeError
from ansible_collections.llama_fleet.core.tests.unit.fakes.foreign_documents import SHA, SUM
from ansible_collections.llama_fleet.core.tests.unit.fakes.foreign_readers import READERS, Json, Reader

LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
HARD = [
    "../../../etc/passwd",
    "/etc/passwd",
    "a\0b",
    "\ud800",
    "\x1b[2J",
    SUM,
    SHA,
    "9" * 5000,
    10**400,
    -1,
    float("nan"),
    "//[bad",
    "x" * 5000,
    "²",
]
LEAVES |= st.sampled_from(HARD)


def any_json(keys: typing.Sequence[str]) -> st.SearchStrategy[Json]:
    names = st.sampled_from([*keys, "../x", "a\0b", "\ud800", ""]) | st.text(max_size=10)
    return st.recursive(
        LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4), max_leaves=10
    )


def keys_of(value: Json) -> list[str]:
    if isinstance(value, dict):
        return [*value, *(key for each in value.values() for key in keys_of(each))]
    return [key for each in value for key in keys_of(each)] if isinstance(value, list) else []


def places_of(value: Json, path: tuple[Json, ...] = ()) -> list[tuple[Json, ...]]:
    """List every place in a document, including the whole document."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, each in inner for place in places_of(each, (*path, key)))]


def put(value: Json, place: tuple[Json, ...], other: Json) -> Json:
    """Return ``value`` with ``other`` in one place."""
    if not place:
        return other
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[place[0]] = put(value[place[0]], place[1:], other)
    return copy


def documents(good: Json) -> st.SearchStrategy[Json]:
    """Generate the valid document with anything in one or two of its places, and arbitrary documents."""
    anything = any_json(keys_of(good))
    places = st.sampled_from(places_of(good))
    once = st.builds(put, st.just(good), places, anything)
    return once | anything


@pytest.mark.parametrize(("_name", "good", "read", "allowed"), READERS, ids=[each[0] for each in READERS])
def test_no_json_raises_anything_else(
    _name: str, good: Json, read: Reader, allowed: tuple[type[Exception], ...]
) -> None:
    @settings(max_examples=150, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(documents(good))
    @example(good)
    def check(document: Json) -> None:
        with tempfile.TemporaryDirectory() as folder, contextlib.suppress(*allowed):
            read(json.dumps(document).encode(), pathlib.Path(folder))

    check()


@pytest.mark.parametrize(("_name", "good", "read", "_allowed"), READERS, ids=[each[0] for each in READERS])
def test_what_is_good_is_read(_name: str, good: Json, read: Reader, _allowed: object) -> None:
    """Otherwise the previous test would only see refusals."""
    with tempfile.TemporaryDirectory() as folder:
        assert (
            read(json.dumps(good).encode(), pathlib.Path(folder)) not in ({}, [], "")
            or _name == "tools_venv._installed"
        )


DEEP = [
    b"[" * 100_000,
    b'{"a":' * 50_000,
    b"[" * 50_000 + b"]" * 50_000,
    b"",
    b"\xff\xfe",
    b"nul",
    b'"\\ud800"',
    b"9" * 5000,
]


# These readers get the result of json.loads.
PARSED = ("hub.commit", "hub.tree", "hub.stated", "server_speed", "server_router.listed")
OF_TEXT = [each for each in READERS if each[0] not in PARSED]


@pytest.mark.parametrize("data", DEEP)
@pytest.mark.parametrize(("_name", "_good", "read", "allowed"), OF_TEXT, ids=[each[0] for each in OF_TEXT])
def test_no_text_raises_anything_else(
    _name: str, _good: Json, read: Reader, allowed: tuple[type[Exception], ...], data: bytes
) -> None:
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(*allowed):
        read(data, pathlib.Path(folder))


def test_the_table_holds_every_reader() -> None:
    """Every reader of JSON or XML uses the untrusted module, or is listed here with a reason."""
    place = pathlib.Path(untrusted.__file__).parent
    found = {
        path.name
        for path in place.rglob("*.py")
        if re.search(r"json\.loads?\(|ElementTree|fromstring\(", path.read_text(encoding="utf-8"))
    }
    # The door itself; the server's answers, whose parts are read by shapes; nvidia-smi's XML, which is tried above; a
    # value of our own as JSON writes it; the job of a background build and its module's answer, which only root writes.
    assert found == {"untrusted.py", "client.py", "smi.py", "changes.py", "worker.py"}
    assert len(READERS) == 25


def test_a_deep_value_overflows_no_stack_where_it_is_checked() -> None:
    with pytest.raises(ShapeError, match="has too many levels"):
        untrusted.parse("[" * 500 + "]" * 500, Plain())
