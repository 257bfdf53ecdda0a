# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Compare the speed and the tokens of two servers that generate in turns, so that a busy host slows both alike."""

from __future__ import annotations

import dataclasses
import statistics
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate import speed as server_speed
from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate.errors import AnswerError

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate.client import Ask

# Each server generates this many times.
TURNS = 7
# Times that a release must be faster to replace another one that works: two processes of one release differ by 2 %.
FASTER = 1.03
# Seconds for one answer.
_LIMIT = 120.0
_OK = 200


@dataclasses.dataclass(frozen=True)
class Compared:
    """The speed of one server as a multiple of another's: the median, and the interval that noise leaves.

    ``how`` says how it was measured.
    """

    low: float
    median: float
    high: float
    how: str

    def is_below(self, ratio: float) -> bool:
        """Return whether the speed is below ``ratio`` beyond the noise."""
        return self.high < ratio

    @property
    def is_faster(self) -> bool:
        """Return whether the speed is above that of the other server beyond the noise, by enough for a switch."""
        return self.low >= FASTER

    def __str__(self) -> str:
        return f"{self.median:.2f} times as many tokens a second ({self.low:.2f} to {self.high:.2f} {self.how})"


@dataclasses.dataclass(frozen=True)
class Turns:
    """The samples of two servers, taken in turns, and what each generated for each of the gate's prompts."""

    before: tuple[server_speed.Sample, ...]
    after: tuple[server_speed.Sample, ...]
    texts: tuple[tuple[server_speed.Sample, server_speed.Sample], ...] = ()

    @property
    def speed(self) -> Compared | None:
        """Return the speed of the second server compared with the first one; None if one of them tells no speed."""
        return in_pairs([each.speed for each in self.before], [each.speed for each in self.after])

    @property
    def difference(self) -> str:
        """Return how the greedy tokens of the second server differ from the first one's; empty if they do not."""
        for one, other in self.texts:
            if (one.tokens or one.text) != (other.tokens or other.text):
                return f"it generates {other.text[:60]!r}, not {one.text[:60]!r}"
        return ""


def in_turns(before: Ask, after: Ask, count: int = TURNS) -> Turns:
    """Let two servers generate in turns, each first in every other turn. Raises AnswerError."""
    texts = tuple((ask_for(before, prompt), ask_for(after, prompt)) for prompt in server_speed.PROMPTS)
    ones: list[server_speed.Sample] = []
    others: list[server_speed.Sample] = []
    for turn in range(count):
        for ask, samples in ((before, ones), (after, others))[:: -1 if turn % 2 else 1]:
            samples.append(ask_for(ask))
    return Turns(tuple(ones), tuple(others), texts)


def alone(ask: Ask, count: int = TURNS) -> tuple[list[server_speed.Sample], list[server_speed.Sample]]:
    """Return ``count`` samples of one server, and one for each of the gate's prompts. Raises AnswerError."""
    return [ask_for(ask) for _turn in range(count)], [ask_for(ask, prompt) for prompt in server_speed.PROMPTS]


def ask_for(ask: Ask, prompt: str = server_speed.PROMPTS[0]) -> server_speed.Sample:
    """Return what a server generates for ``prompt``. Raises AnswerError."""
    reply = ask("/completion", server_speed.payload(prompt), _LIMIT)
    if reply.status != _OK:
        raise AnswerError(f"/completion answered {reply.status}: {reply.text}")
    return server_speed.sample(reply.body)


def in_pairs(before: typing.Sequence[float], after: typing.Sequence[float]) -> Compared | None:
    """Compare speeds that were measured in pairs; the interval is the middle half of the ratios.

    Return None if a speed is 0, which means unknown.
    """
    if not before or 0 in (*before, *after):
        return None
    ratios = [new / old for old, new in zip(before, after)]
    low, median, high = statistics.quantiles(ratios, method="inclusive") if len(ratios) > 1 else ratios * 3
    return Compared(low, median, high, f"in {len(ratios)} turns")


def one_after_other(before: typing.Sequence[float], after: typing.Sequence[float]) -> Compared | None:
    """Compare speeds that were not measured in turns; the interval holds every ratio that they allow.

    Return None if a speed is 0, which means unknown.
    """
    if not before or not after or 0 in (*before, *after):
        return None
    median = statistics.median(after) / statistics.median(before)
    return Compared(min(after) / max(before), median, max(after) / min(before), "one after the other")
