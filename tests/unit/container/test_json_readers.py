# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Every reader of JSON in the command and the image's entrypoint, by any JSON: a value or the error that it
documents, and never another one.
"""

from __future__ import annotations

import contextlib
import json
import pathlib
import re
import tempfile
import typing
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llama_fleet import values
from llama_fleet.cli import foreground
from llama_fleet.container import record

RECORD: dict[str, typing.Any] = {
    "format": 1,
    "desired": "x",
    "names": ["A"],
    "withheld": ["B"],
    "update": "always",
    "remote": None,
    "warning": "",
    "retry_after": 0,
    "generation": "/g",
    "summary": "generation 1",
    "files": {"/a": [1, 2]},
    "links": {"/l": "a"},
    "listings": {"/r": ["b"]},
}
HARD = ["/etc/passwd", "a\0b", "\ud800", "9" * 5000, 10**400, -1, float("nan"), [], {}, [{}], {"a": []}]
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.sampled_from(HARD),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([*RECORD, "command", "environment", "a\0b"]) | st.text(max_size=5), inner, max_size=3
        )
    ),
    max_leaves=8,
)
RECORDS = st.builds(lambda name, value: {**RECORD, name: value}, st.sampled_from([*RECORD]), ANYTHING) | ANYTHING
LIMITS = settings(max_examples=200, deadline=None, database=None, suppress_health_check=list(HealthCheck))


@LIMITS
@given(RECORDS)
def test_the_record_of_a_start(document: object) -> None:
    with tempfile.TemporaryDirectory() as folder, mock.patch.object(record, "STATE", folder):
        (pathlib.Path(folder) / "converged.json").write_text(json.dumps(document), encoding="utf-8")
        kept = record.read()
        with mock.patch.object(record, "desired", lambda *_words: "x"):
            assert isinstance(record.difference(kept, {}, 1.0), str)
        if kept:
            assert kept["warning"] + kept["summary"] + kept["update"] is not None


def test_a_record_as_it_is_written_is_read() -> None:
    with tempfile.TemporaryDirectory() as folder, mock.patch.object(record, "STATE", folder):
        record.write({name: value for name, value in RECORD.items() if name != "format"})
        assert record.read() == RECORD


@LIMITS
@given(
    st.builds(
        lambda name, value: {"command": ["a"], "environment": {}, name: value},
        st.sampled_from(["command", "environment"]),
        ANYTHING,
    )
    | ANYTHING
)
def test_the_generation_that_a_record_names(document: object) -> None:
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(ValueError):
        (pathlib.Path(folder) / "manifest.json").write_text(json.dumps(document), encoding="utf-8")
        command, environment = record.server({**RECORD, "generation": folder}, {}, [])
        assert command == typing.cast("dict[str, typing.Any]", document)["command"]
        assert isinstance(environment, dict)


@pytest.mark.parametrize("text", ["[" * 100_000, "", "nul", '"\ud800"', "9" * 5000])
def test_a_file_that_is_no_record(text: str, tmp_path: pathlib.Path) -> None:
    (tmp_path / "x.json").write_text(text, encoding="utf-8", errors="surrogatepass")
    assert record.read_object(str(tmp_path / "x.json")) == {}


@LIMITS
@given(st.text(max_size=50) | ANYTHING.map(json.dumps) | st.just('{"a":' * 50_000))
def test_a_mapping_in_the_environment(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert isinstance(values._mapping(text), dict)


@LIMITS
@given(st.text(max_size=200))
def test_the_time_that_a_process_began(text: str) -> None:
    with mock.patch.object(pathlib.Path, "read_text", lambda *_words, **_named: text):
        assert isinstance(foreground._start_time(1), str)


def test_the_table_holds_every_reader() -> None:
    source = pathlib.Path(record.__file__).parents[1]
    found = sorted(
        path.name for path in source.rglob("*.py") if re.search(r"json\.loads?\(", path.read_text(encoding="utf-8"))
    )
    # variables.py reads what entrypoint.py has just written into its own environment.
    assert found == ["record.py", "values.py", "variables.py"]
