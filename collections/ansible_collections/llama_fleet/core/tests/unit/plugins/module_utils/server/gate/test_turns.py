# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test the comparison of two servers that generate in turns."""

from __future__ import annotations

import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate import turns
from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate.errors import AnswerError
from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate.gate import Ask, Reply
from ansible_collections.llama_fleet.core.tests.unit.fakes.gated_server import said

# One release on a busy machine, in tokens per second.
BUSY = (6.5, 1.3, 2.0)


def asking(name: str, order: list[str], *replies: Reply) -> Ask:
    left = list(replies)

    def ask(path: str, payload: typing.Mapping[str, typing.Any] | None, timeout: float) -> Reply:
        assert path == "/completion"
        assert payload
        assert timeout > 0
        order.append(name)
        return left.pop(0) if len(left) > 1 else left[0]

    return ask


def test_each_server_is_first_in_every_other_turn() -> None:
    order: list[str] = []
    found = turns.in_turns(asking("a", order, said(speed=50.0)), asking("b", order, said(speed=60.0)), 3)
    assert order == ["a", "b", "a", "b", "a", "b", "b", "a", "a", "b"]
    assert [each.speed for each in (*found.before, *found.after)] == [50.0] * 3 + [60.0] * 3
    assert str(found.speed) == "1.20 times as many tokens a second (1.20 to 1.20 in 3 turns)"
    assert found.difference == ""


@pytest.mark.parametrize(
    ("other", "difference"),
    [
        (said(tokens=[1, 2]), "it generates ' six, seven, eight', not ' six, seven, eight'"),
        (said(text=" nine"), ""),  # the same tokens
    ],
)
def test_other_tokens_are_told(other: Reply, difference: str) -> None:
    assert turns.in_turns(asking("a", [], said()), asking("b", [], other), 1).difference == difference


def test_texts_are_compared_where_a_server_tells_no_tokens() -> None:
    def silent(text: str) -> Reply:
        return Reply(200, {"content": text, "tokens_predicted": 16})

    found = turns.in_turns(asking("a", [], silent(" six")), asking("b", [], silent(" sex")), 1)
    assert (found.difference, found.speed) == ("it generates ' sex', not ' six'", None)


def test_a_server_that_does_not_answer_is_told() -> None:
    with pytest.raises(AnswerError, match="/completion answered 500: failed to decode"):
        turns.in_turns(asking("a", [], said()), asking("b", [], Reply(500, {}, "failed to decode")), 1)


@pytest.mark.parametrize(
    ("before", "after", "is_below", "is_faster"),
    [
        (BUSY, BUSY, False, False),
        ([100.0] * 7, [50.0] * 7, True, False),
        ([100.0] * 7, [130.0] * 7, False, True),
        # The host gets busy and free again while they take turns.
        ([100.0, 50.0, 10.0, 10.0, 50.0, 100.0, 100.0], [49.0, 26.0, 5.0, 5.1, 24.0, 51.0, 50.0], True, False),
        # One turn of seven was disturbed.
        ([100.0] * 7, [130.0, 131.0, 129.0, 10.0, 130.0, 130.0, 130.0], False, True),
        ([100.0] * 7, [99.0, 101.0, 98.0, 102.0, 100.0, 103.0, 97.0], False, False),
    ],
)
def test_only_what_is_beyond_the_noise_counts(
    before: typing.Sequence[float], after: typing.Sequence[float], is_below: bool, is_faster: bool
) -> None:
    found = turns.in_pairs(before, after)
    assert found is not None
    assert (found.is_below(0.8), found.is_faster) == (is_below, is_faster)


@pytest.mark.parametrize(
    ("before", "after", "is_below"),
    [(BUSY, BUSY, False), (BUSY, [1.1], False), (BUSY, [1.0], True), ([10.0, 11.0], [7.0, 7.9], True)],
)
def test_one_after_the_other_every_ratio_that_they_allow_must_be_below(
    before: typing.Sequence[float], after: typing.Sequence[float], is_below: bool
) -> None:
    found = turns.one_after_other(before, after)
    assert found is not None
    assert found.is_below(0.8) is is_below


@pytest.mark.parametrize("compare", [turns.in_pairs, turns.one_after_other])
@pytest.mark.parametrize(("before", "after"), [((), ()), ((0.0, 1.0), (1.0, 1.0)), ((1.0,), (0.0,))])
def test_an_unknown_speed_compares_with_nothing(
    compare: typing.Callable[..., turns.Compared | None],
    before: typing.Sequence[float],
    after: typing.Sequence[float],
) -> None:
    assert compare(before, after) is None


def test_a_single_pair_has_no_interval() -> None:
    assert turns.in_pairs([2.0], [3.0]) == turns.Compared(1.5, 1.5, 1.5, "in 1 turns")
