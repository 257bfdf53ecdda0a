# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test the selection of instances and the problems of their entries."""

from __future__ import annotations

import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.plugin_utils import instances
from ansible_collections.llama_fleet.core.plugins.plugin_utils.instances import HostInstances

SPECS: dict[str, dict[str, dict[str, typing.Any]]] = {
    "nvidia_driver": {"nvidia_driver_gpu": {"type": "str", "choices": ["auto", "required", "none"], "default": "auto"}},
    "llama_cpp": {"llama_cpp_backend": {"type": "str"}, "llama_cpp_jobs": {"type": "int", "default": 0}},
    "llama_server": {
        "llama_server_instance": {"type": "str", "default": "default"},
        "llama_server_instances": {"type": "dict", "default": {}},
        "llama_server_state": {"type": "str", "choices": ["started", "stopped", "absent"], "default": "started"},
        "llama_server_host": {"type": "str", "default": "127.0.0.1"},
        "llama_server_port": {"type": "int", "default": 8080},
        "llama_server_devices": {"type": "list", "default": []},
        "llama_server_api_key": {"type": "dict", "no_log": True},
        "llama_server_root": {"type": "path", "default": "/etc/llama-fleet"},
        "llama_server_plan_only": {"type": "bool", "default": False},
    },
}


def host(entries: dict[typing.Any, typing.Any], **values: typing.Any) -> HostInstances:
    return HostInstances(entries, values, SPECS)


def told(entries: dict[typing.Any, typing.Any], given: str | None = None, **values: typing.Any) -> list[str]:
    return [str(problem) for problem in instances.instance_problems(host(entries, **values), given, "default")]


def port(number: int, **more: typing.Any) -> dict[str, typing.Any]:
    return {"llama_server_port": number, **more}


def test_without_entries_there_is_one_instance() -> None:
    assert instances.chosen(host({}), None, "default") == ["default"]
    assert instances.chosen(host({}), "small", "default") == ["small"]
    assert told({}, "small") == []


def test_of_several_all_are_meant_or_the_one_that_is_named() -> None:
    several = host(
        {"b": port(1), "a": port(2), "old": {"llama_server_state": "absent"}, "idle": {"llama_server_state": "stopped"}}
    )
    assert instances.chosen(several, None, "default") == ["old", "idle", "b", "a"]
    assert instances.chosen(several, "default", "default") == ["old", "idle", "b", "a"]
    assert instances.chosen(several, "a", "default") == ["a"]


def test_a_name_that_is_none_of_them_stops_all() -> None:
    [sentence] = told({"chat": port(1), "embed": port(2)}, "caht")
    assert sentence == (
        "llama_server_instance: expected chat or embed, which are the llama_server_instances, found "
        "'caht'. Fix: Leave it out for all of them."
    )
    assert told({"chat": port(1)}, "chat") == told({"chat": port(1)}, "default") == []


def test_where_one_is_wanted_several_are_too_many() -> None:
    assert instances.ambiguous(["one"]) == []
    [problem] = instances.ambiguous(["b", "a"])
    assert str(problem) == "llama_server_instance: expected one of a or b, found no name, and several instances."


@pytest.mark.parametrize("entry", [None, {}, {"llama_server_port": "8081", "llama_cpp_jobs": 2}])
def test_what_an_entry_may_say(entry: typing.Any) -> None:
    assert told({"chat": entry}) == []


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        (
            {"llama_server_prot": 1},
            (
                "llama_server_prot of instance a: expected one by its full name, found a variable that no role "
                "has. Fix: Use "
            ),
        ),
        (
            {"port": 1},
            (
                "port of instance a: expected one by its full name, found a variable that no role has. Fix: "
                "Use llama_server_port."
            ),
        ),
        (
            {"zzzz": 1},
            (
                "zzzz of instance a: expected one by its full name, found a variable that no role has. Fix: "
                "See the reference."
            ),
        ),
        ({"llama_server_port": "x"}, "llama_server_port of instance a: expected a whole number, found 'x'."),
        (
            {"llama_server_state": "up"},
            "llama_server_state of instance a: expected one of started, stopped or absent, found 'up'.",
        ),
        (
            {"llama_cpp_backend": "cpu"},
            (
                "llama_cpp_backend of instance a: expected a variable of the roles that users set, found a "
                "variable that the play sets from another stage's result."
            ),
        ),
        (
            {"llama_server_root": "/x"},
            (
                "llama_server_root of instance a: expected it beside the instances, found a variable that all "
                "instances of a host have in common."
            ),
        ),
        (
            {"llama_server_instance": "b"},
            (
                "llama_server_instance of instance a: expected it beside the instances, found a variable that "
                "all instances of a host have in common"
            ),
        ),
        (
            {"llama_server_plan_only": True},
            "llama_server_plan_only of instance a: expected one by its full name, found a variable that no role has",
        ),
        (
            "port: 1",
            (
                "instance a: expected variables of the roles by their full names, such as llama_server_port: "
                "8081, found 'port: 1'."
            ),
        ),
        (
            [],
            (
                "instance a: expected variables of the roles by their full names, such as llama_server_port: "
                "8081, found '[]'."
            ),
        ),
    ],
)
def test_what_is_wrong_with_an_entry_is_one_sentence(entry: typing.Any, sentence: str) -> None:
    [problem] = told({"a": entry})
    assert problem.startswith(sentence)


@pytest.mark.parametrize("name", ["Chat", "a b", "-a", "", "a" * 41, 3.5])
def test_a_name_that_no_instance_can_have(name: typing.Any) -> None:
    [problem] = told({name: {}})
    assert problem.startswith(
        "llama_server_instances: expected 1 to 40 lower-case letters, digits and hyphens, no hyphen "
        f"first or last, found the name '{name}'."
    )


def test_a_secret_is_not_shown() -> None:
    [problem] = told({"a": {"llama_server_api_key": "hunter2"}})
    assert "hunter2" not in problem
    assert "secret" in problem


@pytest.mark.parametrize(
    ("entries", "values"),
    [
        ({"a": {}, "b": {}}, {}),
        ({"a": port(8080), "b": {}}, {}),
        ({"a": port(9), "b": {"llama_server_port": "9"}}, {}),
        ({"a": {}, "b": port(9)}, {"llama_server_port": 9}),
        ({"a": port(9, llama_server_host="0.0.0.0"), "b": port(9, llama_server_host="10.0.0.1")}, {}),
    ],
)
def test_two_instances_on_one_port(entries: dict[str, typing.Any], values: dict[str, typing.Any]) -> None:
    [problem] = told(entries, **values)
    assert problem.startswith("llama_server_port: expected a port for each, found ")
    assert problem.endswith(" for both instances a and b. Fix: Set it in their entries.")


@pytest.mark.parametrize(
    "entries",
    [
        {"a": {}, "b": port(9)},
        {"a": {}, "b": {"llama_server_state": "stopped"}},
        {"a": port(9, llama_server_host="10.0.0.2"), "b": port(9, llama_server_host="10.0.0.1")},
    ],
)
def test_two_instances_that_do_not_meet(entries: dict[str, typing.Any]) -> None:
    assert told(entries) == []


@pytest.mark.parametrize(
    ("first", "second", "values", "found"),
    [
        ({}, {}, {}, "every GPU for a and b, and"),
        ({"llama_server_devices": ["CUDA0"]}, {}, {}, "every GPU for b, and"),
        ({}, {}, {"llama_server_devices": ["CUDA0"]}, ""),
        ({"llama_server_devices": ["CUDA0"]}, {"llama_server_devices": ["CUDA1"]}, {}, ""),
        ({"llama_server_devices": ["CUDA0"]}, {"llama_server_devices": ["CUDA0"]}, {}, ""),
        ({}, {"nvidia_driver_gpu": "none"}, {}, ""),
        ({}, {}, {"nvidia_driver_gpu": "none"}, ""),
        ({}, {"llama_server_state": "absent"}, {}, ""),
    ],
)
def test_gpus_are_shared_only_where_both_say_so(
    first: dict[str, typing.Any], second: dict[str, typing.Any], values: dict[str, typing.Any], found: str
) -> None:
    problems = instances.shared_gpus(host({"a": first, "b": second}, **values))
    assert [problem.found.startswith(found) for problem in problems] == ([True] if found else [])
