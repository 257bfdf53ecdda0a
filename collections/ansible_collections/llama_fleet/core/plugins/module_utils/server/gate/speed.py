# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""What a server generates when it is asked to prove itself: whether that can come from a working model, and how
fast it came.
"""

from __future__ import annotations

import dataclasses
import math
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.untrusted import Many, Number, Real, Record, lenient

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.state.generations import Generation

# A working model goes on with one of these at least, whatever it was trained for.
PROMPTS = ("One, two, three, four, five,", "The capital of France is Paris. The capital of Italy is")
# Enough to tell a loop of one token from a text, and a speed from noise; at a token a second still within everyone's
# patience.
TOKENS = 16
# A busy moment of the host must not fail a server: the best of so many counts.
TRIES = 3
# So many of the likeliest tokens, at so many places, tell whether the numbers behind them are any.
LIKELIEST, PLACES = 20, 4
# A model that goes on and on with one token because it learnt nothing (its weights are random) is not sure of it; one
# that broke is.
_SURE = math.log(0.5)
# What a model without sense is seen to answer with: its numbers are NaN or all alike, and one token of the vocabulary
# always wins.
_TIMINGS, _TOKENS, _ANY_NUMBER = (
    Record(optional={"predicted_per_second": Real()}),
    Many(Number(-1)),
    Real(-1e308, 1e308),
)
_NOTHING = frozenset(" \t\r\n.\ufffd?!_-#*")


@dataclasses.dataclass(frozen=True)
class Sample:
    """What came of one request for tokens."""

    text: str
    tokens: tuple[int, ...]
    count: int
    speed: float


@dataclasses.dataclass(frozen=True)
class Baseline:
    """What the speed is measured by: ``ratio`` of the ``speed`` that ``generation`` had."""

    ratio: float
    speed: float
    generation: int

    @property
    def wanted(self) -> float:
        return self.ratio * self.speed


def payload(prompt: str = PROMPTS[0], tokens: int = TOKENS, likeliest: int = 0) -> dict[str, typing.Any]:
    """A request for exactly so many tokens, the likeliest ones, computed anew; with the probabilities of so many in
    each place.
    """
    more = {"n_probs": likeliest} if likeliest else {}
    return {
        "prompt": prompt,
        "n_predict": tokens,
        "temperature": 0,
        "ignore_eos": True,
        "return_tokens": True,
        "cache_prompt": False,
        **more,
    }


def sample(body: typing.Mapping[str, typing.Any]) -> Sample:
    """What /completion answered."""
    content, timings = body.get("content"), lenient(body.get("timings"), _TIMINGS, {})
    return Sample(
        text=content if isinstance(content, str) else "",
        tokens=tuple(lenient(body.get("tokens"), _TOKENS, ())),
        count=lenient(body.get("tokens_predicted"), Number(), 0),
        speed=round(timings.get("predicted_per_second", 0.0), 2),
    )


def nonsense(found: Sample) -> str:
    """What is wrong with a sample, in words; empty where a working model may have said it."""
    shown = repr(found.text[:40])
    if not found.count:
        return "no token at all"
    if found.count < 4:
        return ""  # too few to tell
    if not found.text.strip():
        return f"{found.count} tokens without any text"
    if not any(character.isprintable() and character != "\ufffd" for character in found.text):
        return f"{found.count} tokens of nothing printable"
    if set(found.text) <= _NOTHING:
        return f"nothing but {shown}"
    if len(found.tokens) == found.count and len(set(found.tokens)) == 1:
        return f"the same token {found.count} times, {shown}"
    return ""


def likelihoods(body: typing.Mapping[str, typing.Any]) -> list[list[float | None]]:
    """The logarithms of the likeliest tokens' probabilities in each place, None for one that is no number; empty
    where the server does not tell them.
    """
    places = body.get("completion_probabilities")
    rows = (
        [place.get("top_logprobs") for place in places if isinstance(place, dict)] if isinstance(places, list) else []
    )
    found = [
        [_number(each.get("logprob")) for each in row if isinstance(each, dict)]
        for row in rows
        if isinstance(row, list)
    ]
    return [row for row in found if row]


def _number(value: typing.Any) -> float | None:
    return typing.cast("float | None", lenient(value, _ANY_NUMBER, None))


def judged(wrong: str, places: typing.Sequence[typing.Sequence[float | None]]) -> str:
    """What is ``wrong`` with samples in the light of the numbers behind them; empty where they are those of a model
    that only knows nothing.
    """
    numbers = [[value for value in place if value is not None] for place in places]
    if not places:
        return wrong
    if sum(map(len, numbers)) < sum(map(len, places)):
        return f"{wrong}, and what it computes are no numbers"
    if all(len(place) > 2 and max(place) - min(place) < 1e-6 for place in numbers):
        return f"{wrong}, and takes every token for as likely as any other"
    return wrong if sum(max(place) for place in numbers) / len(numbers) > _SURE else ""


def bad_vector(body: typing.Mapping[str, typing.Any]) -> str:
    """What is wrong with the answer of an embedding or a reranking server, in words."""
    rows = body.get("data") or body.get("results") or []
    first = rows[0] if isinstance(rows, list) and rows and isinstance(rows[0], dict) else {}
    numbers = first.get("embedding", first.get("relevance_score", 1.0))
    while isinstance(numbers, list) and numbers and isinstance(numbers[0], list):
        numbers = numbers[0]
    values = numbers if isinstance(numbers, list) else [numbers]
    if not values or any(_number(value) is None for value in values):
        return "an answer that is not made of numbers"
    return "an embedding of zeros only" if len(values) > 1 and not any(values) else ""


def baseline(
    ratio: float, model: str, before: Generation | None, newest_first: typing.Iterable[Generation]
) -> Baseline | None:
    """The speed to be measured by: that of the generation ``before``, else of the newest good one with the same
    model.
    """
    if ratio <= 0:
        return None
    candidates = [*([before] if before else []), *newest_first]
    found = next((each for each in candidates if each.good and each.model == model and each.speed > 0), None)
    return Baseline(ratio, found.speed, found.number) if found else None


def too_slow(speed: float, measure: Baseline | None) -> str:
    """Why a speed is not enough; empty where it is, or where nothing was asked."""
    if measure is None or speed >= measure.wanted:
        return ""
    return (
        f"it generates {speed:.1f} tokens a second, less than llama_server_min_speed_ratio, {measure.ratio:g}, "
        f"of the {measure.speed:.1f} that generation {measure.generation} had"
    )
