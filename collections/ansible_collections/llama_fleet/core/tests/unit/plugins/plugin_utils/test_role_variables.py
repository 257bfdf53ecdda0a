# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest

from ansible_collections.llama_fleet.core.plugins.plugin_utils.role_variables import unknown, wrong

SPEC = {
    "llama_server_port": {"type": "int"},
    "llama_server_runtime": {"type": "str", "choices": ["auto", "systemd"]},
    "llama_server_api_key": {"type": "dict", "no_log": True},
}


def test_a_misspelt_variable_names_the_nearest() -> None:
    (problem,) = unknown(
        "llama_server", ["llama_server_prot", "llama_server_port", "llama_server_result", "other"], SPEC
    )
    assert problem.subject == "llama_server_prot"
    assert problem.fix == "use llama_server_port"


@pytest.mark.parametrize("value", [8080, "8080"])
def test_what_ansible_accepts_is_accepted(value: object) -> None:
    assert wrong({"llama_server_port": value}, SPEC) == []


def test_a_wrong_type_and_a_wrong_choice_are_both_told() -> None:
    problems = wrong({"llama_server_port": "abc", "llama_server_runtime": "sysd"}, SPEC)
    assert [str(problem) for problem in problems] == [
        "llama_server_port: expected a whole number, found 'abc'.",
        "llama_server_runtime: expected one of auto or systemd, found 'sysd'.",
    ]


def test_a_secret_is_never_shown() -> None:
    (problem,) = wrong({"llama_server_api_key": "hunter2"}, SPEC)
    assert "hunter2" not in str(problem)
