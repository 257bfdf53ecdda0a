# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test the gate of servers that fail: each failure is told with its reason."""

from __future__ import annotations

import re

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate.gate import (
    AnswerError,
    Expected,
    GateError,
    Reply,
)
from ansible_collections.llama_fleet.core.tests.unit.fakes.gated_server import PROPS, Server, said, told


@pytest.mark.parametrize(
    ("replies", "reason"),
    [
        ({"health": [Reply(503, {})]}, "not ready within 10 s (because): /health answered 503"),
        ({"health": [Reply(0, {})]}, "no response from /health"),
        (
            {"props": [Reply(200, {**PROPS, "model_path": "/other.gguf"})]},
            "it serves the model /other.gguf, not /m.gguf",
        ),
        ({"props": [Reply(200, {**PROPS, "total_slots": 4})]}, "it has 4 slots"),
        (
            {"props": [Reply(200, {**PROPS, "default_generation_settings": {"n_ctx": 128}})]},
            "the model was not trained for more",
        ),
        ({"props": [Reply(200, {})]}, "it serves the model None"),
        ({"props": [Reply(401, {})]}, "it rejected the API key"),
        ({"props": [Reply(500, {}, "boom")]}, "/props answered 500: boom"),
        ({"props": [Reply(200, {**PROPS, "model_alias": "other"})]}, "it calls its model other, not m.gguf"),
        ({"props": [Reply(200, {**PROPS, "model_alias": "m"})]}, "it calls its model m, not m.gguf"),
        (
            {"completion": [said("......"), said("!!!!")]},
            "it generates nothing but '......': its model's files are damaged, or this release computes wrongly",
        ),
        (
            {"completion": [said("...."), said("...."), told([None, None])]},
            "it generates nothing but '....', and its probabilities are not numbers: its model's",
        ),
        (
            {"completion": [said("6666", tokens=[6] * 16), said("6666", tokens=[6] * 16), told([-9.0] * 20)]},
            "all its tokens are equally likely: its",
        ),
        ({"completion": [said(tokens=[4] * 16)]}, "it generates the same token 16 times, ' six, seven, eight'"),
        ({"completion": [Reply(200, {"tokens_predicted": 0})]}, "/completion answered 200"),
        ({"completion": [Reply(500, {}, "failed to decode")]}, "failed to decode"),
        ({"completion": [Reply(0, {}, "timed out")]}, "gave no answer within 30 s: timed out"),
    ],
)
def test_every_failure_has_its_reason(replies: dict[str, list[Reply]], reason: str) -> None:
    with pytest.raises(GateError, match=re.escape(reason)):
        Server(**replies).gate(Expected("/m.gguf", 2, 512, alias="m.gguf"))


@pytest.mark.parametrize(
    ("mode", "replies", "reason"),
    [
        (
            "embedding",
            {"embeddings": [Reply(200, {"data": [{"embedding": [0.0, 0.0]}]})]},
            "it answered with an embedding of zeros only",
        ),
        (
            "embedding",
            {"embeddings": [Reply(200, {"data": [{"embedding": [None, 0.1]}]})]},
            "an answer that is not made of numbers",
        ),
        (
            "rerank",
            {"rerank": [Reply(200, {"results": [{"relevance_score": None}]})]},
            "an answer that is not made of numbers",
        ),
        ("rerank", {"rerank": [Reply(501, {}, "not started for it")]}, "/v1/rerank answered 501: not started for it"),
    ],
)
def test_vectors_have_to_be_numbers(mode: str, replies: dict[str, list[Reply]], reason: str) -> None:
    with pytest.raises(GateError, match=re.escape(reason)):
        Server(**replies).gate(Expected("/m.gguf", 2, 512, mode))


def test_an_empty_answer_is_a_failure() -> None:
    with pytest.raises(AnswerError, match="its answer to the prompt is empty"):
        Server(completions=[Reply(200, {"choices": [{"message": {"content": ""}}]})]).gate(
            Expected("/m.gguf", 2, 512, prompt="Hi")
        )


def test_a_death_ends_the_wait_at_once() -> None:
    server = Server(health=[Reply(503, {})])
    server.deaths = ["", "", "llama-server ended with exit status 1"]
    with pytest.raises(GateError, match="exit status 1"):
        server.gate()
    assert server.time < 1


def test_a_death_while_generating_is_told_as_a_death() -> None:
    server = Server(completion=[Reply(0, {}, "Connection reset")])
    server.deaths = ["", "llama-server was ended by SIGILL"]
    with pytest.raises(GateError, match="SIGILL"):
        server.gate()
