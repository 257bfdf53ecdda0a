# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test the sentences of status on the builds that run: their origin, its reason, and the newest versions."""

import json

import pytest

from llama_fleet.cli import commands
from tests.unit.cli.fake_hosts import Facts, Hosts, facts

NEWEST = {
    "stable": "v0.8.0 (b11434)",
    "nightly": "b11500",
    "behind_stable": "the same",
    "behind_nightly": "66 builds behind",
    "unknown": "",
}
BUILT = {"build": "b11434", "origin": "built", "why": "llama_cpp_method is source", "newest": NEWEST}
PUBLISHED = {**BUILT, "origin": "upstream", "why": "llama_cpp_source names them"}
OFFLINE = {**dict.fromkeys(NEWEST, ""), "unknown": "no answer from https://api.github.com/x (refused)"}


def told(hosts: Hosts, capsys: pytest.CaptureFixture[str], *found: Facts) -> tuple[str, list[str]]:
    hosts.instances = {"h1": [facts(instance=f"i{number}", **each) for number, each in enumerate(found)]}
    assert commands.main(["status"]) == 0
    header, *lines = capsys.readouterr().out.splitlines()
    return header, [line.rstrip() for line in lines[len(found) :]]


def test_one_origin_and_the_distance_are_said_once(hosts: Hosts, capsys: pytest.CaptureFixture[str]) -> None:
    header, lines = told(hosts, capsys, BUILT, BUILT)
    assert "  BUILD   ORIGIN  " in header
    assert lines == [
        "b11434: built from source, because llama_cpp_method is source.",
        (
            "b11434: the same as the newest stable version v0.8.0 (b11434), 66 builds behind the newest nightly build "
            "b11500."
        ),
    ]


def test_several_origins_are_said_with_their_instances(hosts: Hosts, capsys: pytest.CaptureFixture[str]) -> None:
    _header, lines = told(hosts, capsys, *[BUILT] * 7, PUBLISHED)
    assert lines[:2] == [
        "h1/i0, h1/i1, h1/i2, h1/i3, h1/i4 and 2 more: b11434: built from source, because llama_cpp_method is source.",
        "h1/i7: b11434: llama.cpp's own binaries, because llama_cpp_source names them.",
    ]


@pytest.mark.parametrize(
    ("newest", "lines"),
    [
        (
            OFFLINE,
            [
                (
                    "llama.cpp: newest stable version and nightly build unknown, because no answer from "
                    "https://api.github.com/x (refused)."
                )
            ],
        ),
        (
            {**NEWEST, "stable": "", "behind_stable": "", "unknown": "too slow"},
            [
                "b1: 66 builds behind the newest nightly build b11500.",
                "llama.cpp: newest stable version unknown, because too slow.",
            ],
        ),
        (
            {**NEWEST, "behind_stable": "3 builds ahead", "behind_nightly": "not comparable"},
            [
                (
                    "b1: 3 builds ahead of the newest stable version v0.8.0 (b11434), not comparable with the newest "
                    "nightly build b11500."
                )
            ],
        ),
        ({**OFFLINE, "unknown": "not asked"}, []),
        (None, []),
    ],
)
def test_what_is_unknown_is_said_once_with_its_reason(
    hosts: Hosts, capsys: pytest.CaptureFixture[str], newest: Facts | None, lines: list[str]
) -> None:
    each = {"build": "b1", "origin": "", "newest": newest}
    assert told(hosts, capsys, each, each)[1] == lines


def test_json_has_all_of_it(hosts: Hosts, capsys: pytest.CaptureFixture[str]) -> None:
    hosts.instances = {"h1": [facts(**BUILT)]}
    assert commands.main(["status", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert {name: row[name] for name in BUILT} == BUILT


@pytest.mark.parametrize(
    ("arguments", "asks"), [(["status"], None), (["status", "--watch"], False), (["generations"], False)]
)
def test_only_a_single_look_asks_for_the_newest_versions(hosts: Hosts, arguments: list[str], asks: bool | None) -> None:
    hosts.calls_until_interrupted = 2
    commands.main(arguments)
    assert [request.variables.get("llama_fleet_asks_for_newest") for request in hosts.requests] == (
        [asks, asks] if "--watch" in arguments else [asks]
    )
