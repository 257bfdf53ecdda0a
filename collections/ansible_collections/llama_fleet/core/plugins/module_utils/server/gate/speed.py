# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Judge what a server generates for its proof: whether a working model can generate it, and how fast it came."""

from __future__ import annotations

import dataclasses
import math
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.untrusted import Many, Number, Real, Record, lenient

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.state.generations import Generation

# A working model continues at least one of these, whatever it was trained for.
PROMPTS = ("One, two, three, four, five,", "The capital of France is Paris. The capital of Italy is")
# Enough to tell a loop of one token from text, and speed from noise, and still quick at one token per second.
TOKENS = 16
# The best of these many tries counts, because a busy moment of the host says nothing about a server.
TRIES = 3
# The likeliest tokens and the places to look at, to tell whether the probabilities are numbers.
LIKELIEST, PLACES = 20, 4
# A model with random weights also repeats one token, but is not sure of it, whereas a broken model is.
_SURE = math.log(0.5)
# A broken model computes NaN or equal numbers, so one token of the vocabulary always wins.
_TIMINGS, _TOKENS, _ANY_NUMBER = (
    Record(optional={"predicted_per_second": Real()}),
    Many(Number(-1)),
    Real(-1e308, 1e308),
)
_NOTHING = frozenset(" \t\r\n.\ufffd?!_-#*")


@dataclasses.dataclass(frozen=True)
class Sample:
    """The result of one request for tokens; ``speed`` is in tokens per second."""

    text: str
    tokens: tuple[int, ...]
    count: int
    speed: float


@dataclasses.dataclass(frozen=True)
class Baseline:
    """The required speed: ``ratio`` times the ``speed`` of ``generation``, in tokens per second."""

    ratio: float
    speed: float
    generation: int

    @property
    def wanted(self) -> float:
        return self.ratio * self.speed

    def is_met(self, speed: float) -> bool:
        """Return whether ``speed`` is enough without a closer look."""
        return speed >= self.wanted


def payload(prompt: str = PROMPTS[0], tokens: int = TOKENS, likeliest: int = 0) -> dict[str, typing.Any]:
    """Return a request for exactly ``tokens`` tokens, greedy and uncached, with the ``likeliest`` probabilities."""
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
    """Parse the answer of /completion."""
    content, timings = body.get("content"), lenient(body.get("timings"), _TIMINGS, {})
    return Sample(
        text=content if isinstance(content, str) else "",
        tokens=tuple(lenient(body.get("tokens"), _TOKENS, ())),
        count=lenient(body.get("tokens_predicted"), Number(), 0),
        speed=round(timings.get("predicted_per_second", 0.0), 2),
    )


def nonsense(result: Sample) -> str:
    """Return what is wrong with a sample, or an empty string if a working model may have generated it."""
    shown = repr(result.text[:40])
    if not result.count:
        return "no token at all"
    if result.count < 4:
        return ""  # too few to tell
    if not result.text.strip():
        return f"{result.count} tokens without any text"
    if not any(character.isprintable() and character != "\ufffd" for character in result.text):
        return f"{result.count} tokens of nothing printable"
    if set(result.text) <= _NOTHING:
        return f"nothing but {shown}"
    if len(result.tokens) == result.count and len(set(result.tokens)) == 1:
        return f"the same token {result.count} times, {shown}"
    return ""


def likelihoods(body: typing.Mapping[str, typing.Any]) -> list[list[float | None]]:
    """Return the log probabilities of the likeliest tokens in each place; None for a value that is not a number.

    Empty if the server does not report them.
    """
    places = body.get("completion_probabilities")
    rows = (
        [place.get("top_logprobs") for place in places if isinstance(place, dict)] if isinstance(places, list) else []
    )
    values = [
        [_number(each.get("logprob")) for each in row if isinstance(each, dict)]
        for row in rows
        if isinstance(row, list)
    ]
    return [row for row in values if row]


def _number(value: typing.Any) -> float | None:
    return typing.cast("float | None", lenient(value, _ANY_NUMBER, None))


def judged(wrong: str, places: typing.Sequence[typing.Sequence[float | None]]) -> str:
    """Return what is ``wrong`` with samples given their log probabilities; empty for a model that is only ignorant."""
    numbers = [[value for value in place if value is not None] for place in places]
    if not places:
        return wrong
    if sum(map(len, numbers)) < sum(map(len, places)):
        return f"{wrong}, and its probabilities are not numbers"
    if all(len(place) > 2 and max(place) - min(place) < 1e-6 for place in numbers):
        return f"{wrong}, and all its tokens are equally likely"
    return wrong if sum(max(place) for place in numbers) / len(numbers) > _SURE else ""


def bad_vector(body: typing.Mapping[str, typing.Any]) -> str:
    """Return what is wrong with the answer of an embedding or reranking server, or an empty string."""
    rows = body.get("data") or body.get("results") or []
    first = rows[0] if isinstance(rows, list) and rows and isinstance(rows[0], dict) else {}
    numbers = first.get("embedding", first.get("relevance_score", 1.0))
    while isinstance(numbers, list) and numbers and isinstance(numbers[0], list):
        numbers = numbers[0]
    values = numbers if isinstance(numbers, list) else [numbers]
    if not values or any(_number(value) is None for value in values):
        return "an answer that is not made of numbers"
    return "an embedding of zeros only" if len(values) > 1 and not any(values) else ""


def rival(model: str, before: Generation | None, newest_first: typing.Iterable[Generation]) -> Generation | None:
    """Return the generation to compare with: ``before``, else the newest good one with the same model."""
    candidates = [*([before] if before else []), *newest_first]
    return next((each for each in candidates if each.good and each.model == model and each.speed > 0), None)
