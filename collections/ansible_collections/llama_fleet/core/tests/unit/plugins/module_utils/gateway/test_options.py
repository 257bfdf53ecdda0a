# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.gateway.options import Options, option_problems

KEY = "k" * 16


def _subjects(**given: typing.Any) -> list[str]:
    return [problem.subject for problem in option_problems(Options(**given))]


def test_the_defaults_are_valid() -> None:
    assert _subjects() == []


@pytest.mark.parametrize(
    ("given", "subject"),
    [
        ({"host": "a b"}, "host"),
        ({"port": 0}, "port"),
        ({"port": 8405}, "metrics_port"),
        ({"overload": 100}, "overload"),
        ({"memory_max": "lots"}, "memory_max"),
        ({"models": {"qwen": ["gpt-4o"]}}, "models"),
        ({"models": {"qwen": {"aliases": ["with space"]}}}, "models"),
        ({"limits": {"default": {"concurrent": "8"}}}, "limits"),
        ({"limits": {"bob": {"concurrent": 8}}}, "limits"),
        ({"api_keys": {"a b": KEY}}, "api_keys"),
        ({"api_keys": {"ann": "short"}}, "api_keys"),
        ({"api_keys": {"ann": "with a space in it"}}, "api_keys"),
        ({"api_keys": {"ann": 12345678901234567}}, "api_keys"),
        ({"backend_key": "short"}, "backend_key"),
        ({"tls_certificate": "/etc/a.pem"}, "tls_key"),
        ({"tls_key": "/etc/a.key"}, "tls_certificate"),
        ({"root": "relative"}, "root"),
        ({"runtime_root": "/run/with space"}, "runtime_root"),
    ],
)
def test_a_wrong_value_is_one_problem(given: dict[str, typing.Any], subject: str) -> None:
    assert _subjects(**given) == [f"llama_gateway_{subject}"]


def test_an_address_for_others_needs_a_key_or_permission() -> None:
    assert _subjects(host="0.0.0.0") == ["llama_gateway_host"]
    assert _subjects(host="0.0.0.0", api_keys={"ann": KEY}) == []
    assert _subjects(host="::", allow_unauthenticated=True) == []
    assert _subjects(host="::1") == []


def test_no_message_contains_a_key() -> None:
    given: dict[str, typing.Any] = {"api_keys": {"ann": "a secret text"}, "backend_key": "also secret"}
    text = "\n".join(map(str, option_problems(Options(**given))))
    assert "secret" not in text
    assert "a secret text" not in repr(Options(**given))
