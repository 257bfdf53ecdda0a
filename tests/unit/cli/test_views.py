# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The output of read-only commands: table, JSON and query; test_status.py and test_doctor.py have whole commands."""

import json
import typing

import pytest
from rich.text import Text

from llama_fleet.cli import views
from llama_fleet.errors import UsageError
from llama_fleet.run.events import Outcome

ROWS: list[dict[str, typing.Any]] = [{"name": "a", "size": 9, "note": ""}, {"name": "b", "size": 10, "note": ""}]
VIEW = views.View(
    rows=lambda _outcome: ROWS,
    columns=lambda facts: {name.upper(): Text(str(value)) for name, value in facts.items()},
    remarks=lambda _outcome: iter([Text("a remark")]),
    exit_status=lambda _outcome: 3,
    failures=lambda _outcome: iter(["far: no route"]),
    right=("SIZE",),
)


def test_a_table_has_no_empty_column_and_aligns_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    assert views.show(VIEW, Outcome) == 3
    output = capsys.readouterr()
    assert output.out.splitlines() == ["NAME  SIZE", "a        9", "b       10", "a remark"]
    assert output.err == "Error: far: no route\n"


@pytest.mark.parametrize(
    ("as_json", "query", "expected"), [(True, "", ROWS), (False, "[?size > `9`].name", ["b"]), (True, "[0].name", "a")]
)
def test_programs_get_json_alone(
    as_json: bool, query: str, expected: object, capsys: pytest.CaptureFixture[str]
) -> None:
    assert views.show(VIEW, Outcome, as_json=as_json, query=query) == 3
    assert json.loads(capsys.readouterr().out) == expected


def test_a_malformed_query_is_refused_before_any_host_is_asked() -> None:
    with pytest.raises(UsageError, match="JMESPath"):
        views.show(VIEW, lambda: pytest.fail("asked"), query="[x")
