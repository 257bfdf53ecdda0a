# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import pathlib
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate import speed as server_speed
from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate.speed import Baseline, Sample
from ansible_collections.llama_fleet.core.plugins.module_utils.server.state.generations import Generation


def generation(number: int, speed: float, model: str = "/m.gguf", good: bool = True) -> Generation:
    return Generation(number, pathlib.Path("/nowhere"), {"speed": speed, "model": model, "good": good})


def test_what_the_server_answers_becomes_a_sample() -> None:
    body = {"content": " six", "tokens": [1, 2], "tokens_predicted": 2, "timings": {"predicted_per_second": 12.3456}}
    assert server_speed.sample(body) == Sample(" six", (1, 2), 2, 12.35)


@pytest.mark.parametrize(
    "body", [{}, {"content": None, "tokens": None, "timings": None}, {"timings": {"predicted_per_second": None}}]
)
def test_an_older_server_says_less(body: dict[str, typing.Any]) -> None:
    assert server_speed.sample(body) == Sample("", (), 0, 0.0)


@pytest.mark.parametrize("speed", [float("inf"), float("nan"), -1.0, 0])
def test_a_speed_that_is_none_is_not_taken_for_one(speed: float) -> None:
    assert server_speed.sample({"timings": {"predicted_per_second": speed}}).speed == 0.0


@pytest.mark.parametrize(
    "found",
    [
        Sample(" six, seven, eight, nine,", tuple(range(16)), 16, 1.0),
        Sample("1, 2, 3", (), 7, 1.0),
        Sample("五六七八", (), 4, 1.0),
        Sample("\ufffd six", (5, 6, 7, 8), 4, 1.0),
        Sample("aaaa", (5, 5, 5, 6), 4, 1.0),
        Sample("aaaa", (), 4, 1.0),  # an old server returns no tokens
        Sample("..", (5, 5), 2, 1.0),  # too few to tell
    ],
)
def test_what_a_working_model_may_say(found: Sample) -> None:
    assert server_speed.nonsense(found) == ""


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (Sample("", (), 0, 0.0), "no token at all"),
        (Sample("", (1, 2, 3, 4), 4, 1.0), "4 tokens without any text"),
        (Sample(" \n\t ", (1, 2, 3, 4), 4, 1.0), "4 tokens without any text"),
        (Sample("\ufffd\ufffd\x00\x07", (1, 2, 3, 4), 4, 1.0), "4 tokens of nothing printable"),
        (Sample(". . .\n", (1, 2, 1, 2), 4, 1.0), "nothing but '. . .\\n'"),
        (Sample("????????", (), 8, 1.0), "nothing but '????????'"),
        (Sample("GGGGGGGG", (38,) * 8, 8, 1.0), "the same token 8 times, 'GGGGGGGG'"),
    ],
)
def test_what_only_a_broken_model_says(found: Sample, told: str) -> None:
    assert server_speed.nonsense(found) == told


UNIFORM = [[-10.8] * 20] * 4
RANDOM = [[-1.2, -1.5, -1.7], [-1.3, -1.3, -1.9]]
SURE = [[-0.1, -3.0, -4.0], [-0.3, -2.0, -5.0]]


@pytest.mark.parametrize(
    ("places", "told"),
    [
        ([], "dots"),  # an old server returns no probabilities
        ([[None, None], [-0.1, -3.0]], "dots, and its probabilities are not numbers"),
        (UNIFORM, "dots, and all its tokens are equally likely"),
        (SURE, "dots"),
        (RANDOM, ""),
        ([[-4.38, -4.38, -4.5]] * 4, ""),  # equal probabilities of two of many tokens do not mean zeros
    ],
)
def test_nonsense_of_a_model_that_learnt_nothing_is_no_damage(places: list[list[float | None]], told: str) -> None:
    assert server_speed.judged("dots", places) == told


@pytest.mark.parametrize(
    ("body", "places"),
    [
        (
            {
                "completion_probabilities": [
                    {"logprob": None, "top_logprobs": [{"logprob": None}, {"logprob": float("nan")}, {"logprob": -1}]}
                ]
            },
            [[None, None, -1.0]],
        ),
        ({"completion_probabilities": [{"content": " six", "probs": [{"tok_str": " six", "prob": 0.9}]}]}, []),
        ({"completion_probabilities": None}, []),
        ({}, []),
    ],
)
def test_probabilities_are_read_as_a_server_tells_them(
    body: dict[str, typing.Any], places: list[list[float | None]]
) -> None:
    assert server_speed.likelihoods(body) == places


def test_the_rival_is_what_served_before_with_the_same_model() -> None:
    before = generation(2, 60.0)
    others = [generation(5, 90.0), generation(4, 80.0, "/other.gguf"), generation(3, 70.0)]
    assert server_speed.rival("/m.gguf", before, others) == before
    assert server_speed.rival("/m.gguf", None, others) == others[0]
    assert server_speed.rival("/other.gguf", before, others) == others[1]
    assert server_speed.rival("/m.gguf", None, [generation(5, 0.0), generation(4, 50.0, good=False)]) is None


@pytest.mark.parametrize(("speed", "is_met"), [(48.0, True), (47.9, False), (0.0, False)])
def test_a_share_of_the_baseline_is_enough(speed: float, is_met: bool) -> None:
    assert Baseline(0.8, 60.0, 2).is_met(speed) is is_met
