# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""An option's one declaration gives the argument spec, the typed value, the default and the range."""

from __future__ import annotations

import dataclasses
import pathlib
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils import arguments
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem


def _words(given: str) -> list[str]:
    return given.split()


@dataclasses.dataclass(frozen=True)
class Wanted:
    source: str = arguments.text(None, in_role="pypi:x")
    state: str = arguments.text("on", ("on", "off"))
    port: int = arguments.integer(8080, 1, 65535)
    limit: int = arguments.integer(5, 1, 9, also=(-1,), wanted="1 to 9, or -1 for no limit")
    share: float = arguments.number(0.5, 0, 1, "a share")
    root: pathlib.Path = arguments.directory("/opt")
    names: tuple[str, ...] = arguments.texts(("a", "b"))
    more: typing.Mapping[str, typing.Any] = arguments.mapping()
    words: list[str] = arguments.parsed(arguments.text("x y", internal=True), _words)
    key: str = arguments.secret()
    found: int = 7


def test_the_argument_spec_is_what_the_fields_declare() -> None:
    spec = arguments.argument_spec(Wanted)
    assert list(spec) == [field.name for field in dataclasses.fields(Wanted) if field.name != "found"]
    assert spec["source"] == {"type": "str", "required": True, "no_log": False}
    assert spec["state"] == {"type": "str", "choices": ["on", "off"], "default": "on", "no_log": False}
    assert spec["root"] == {"type": "path", "default": "/opt", "no_log": False}
    assert spec["names"] == {
        "type": "list",
        "elements": "str",
        "choices": ["a", "b"],
        "default": [],
        "no_log": False,
    }
    assert spec["key"] == {"type": "str", "default": "", "no_log": True}


def test_parameters_become_typed_values() -> None:
    params = {name: option.get("default", "here") for name, option in arguments.argument_spec(Wanted).items()}
    wanted = Wanted(**arguments.values(Wanted, {**params, "names": ["b"], "words": "1 2", "key": "s3cr3t"}))
    assert (wanted.source, wanted.root, wanted.names, wanted.words) == (
        "here",
        pathlib.Path("/opt"),
        ("b",),
        ["1", "2"],
    )
    assert Wanted().words == ["x", "y"]
    assert "s3cr3t" not in repr(wanted)


@pytest.mark.parametrize(
    ("changes", "problems"),
    [
        ({}, []),
        ({"limit": -1, "port": 65535}, []),
        ({"port": 0}, [Problem("role_port", "0", "a number from 1 to 65535")]),
        ({"limit": 0}, [Problem("role_limit", "0", "1 to 9, or -1 for no limit")]),
        (
            {"share": float("nan"), "port": 65536},
            [Problem("role_port", "65536", "a number from 1 to 65535"), Problem("role_share", "nan", "a share")],
        ),
    ],
)
def test_a_number_outside_its_range_is_a_problem(changes: dict[str, typing.Any], problems: list[Problem]) -> None:
    assert arguments.range_problems(Wanted, "role", vars(Wanted(**changes))) == problems
