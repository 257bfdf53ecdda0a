# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.server.status import table

FACTS: dict[str, typing.Any] = {
    **dict.fromkeys(("build", "origin", "model", "quant", "device"), ""),
    **dict.fromkeys(("memory_mib", "gpu_memory_mib", "uptime_seconds", "generation"), 0),
    **dict.fromkeys(("slots", "slots_busy", "tokens_predicted"), -1),
    "tokens_per_second": -1.0,
    "instance": "a",
    "state": "running",
    "unknown": [],
}


def test_columns_without_a_value_are_left_out_and_the_others_line_up() -> None:
    chat = {**FACTS, "instance": "chat", "model": "/models/x.gguf", "memory_mib": 2048, "unknown": ["log: no right"]}
    assert table.lines([FACTS, {**chat, "background": "compiles b2"}]) == [
        "INSTANCE  STATE    MODEL   MEMORY",
        "a         running",
        "chat      running  x.gguf  2.0 GiB",
        "chat: unknown: log: no right",
        "chat: compiles b2",
    ]


def test_a_host_without_an_instance_says_so() -> None:
    assert table.lines([]) == ["no instance"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, ""),
        (59, "59 s"),
        (60, "1 min"),
        (3599, "59 min 59 s"),
        (3600, "1 h"),
        (86400 + 60, "1 d"),
        (90061, "1 d 1 h"),
    ],
)
def test_uptime_has_two_units(seconds: int, text: str) -> None:
    assert table.uptime(seconds) == text


@pytest.mark.parametrize(
    ("origin", "word"), [("built", "built"), ("upstream", "published"), ("packed", "packed"), ("evil\x1b", "")]
)
def test_the_origin_is_a_word(origin: str, word: str) -> None:
    assert table.origin({"origin": origin}) == word
