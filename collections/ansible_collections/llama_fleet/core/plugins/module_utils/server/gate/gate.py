# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test over its own HTTP whether a running llama-server is ready."""

from __future__ import annotations

import dataclasses
import time
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate import router
from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate import speed as server_speed
from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate.client import Ask, Reply, asker, endpoint
from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate.errors import (
    AnswerError,
    GateError,
    HeldError,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import router as server_router
from ansible_collections.llama_fleet.core.plugins.module_utils.untrusted import Many, Maybe, Plain, Record, lenient

__all__ = [
    "AnswerError",
    "Ask",
    "Clock",
    "Expected",
    "GateError",
    "HeldError",
    "Limit",
    "Passed",
    "Reply",
    "asker",
    "endpoint",
    "pass_gate",
    "ready_limit",
]

Alive = typing.Callable[[], str]  # returns why the process ended, or an empty string

ANSWER_TOKENS = 64
BRIEF_TOKENS = 2
_HTTP_OK, _UNAUTHORIZED = 200, 401


@dataclasses.dataclass(frozen=True)
class Expected:
    """The report expected from a server. ``mode`` is completion, embedding, rerank or router.

    ``brief`` is for an unchanged server that passed before. ``untouched`` is for one that also runs since before: it is
    looked at and not used. Below ``speed``, the baseline, it is measured several times.
    """

    model: str
    slots: int
    context: int
    mode: str = "completion"
    prompt: str = ""
    alias: str = ""
    brief: bool = False
    speed: server_speed.Baseline | None = None
    untouched: bool = False


@dataclasses.dataclass(frozen=True)
class Limit:
    """The time limit for a server to become ready, in seconds, and the reason for it."""

    seconds: float
    reason: str


@dataclasses.dataclass(frozen=True)
class Passed:
    """The answer to the prompt, the tokens per second of each try, and whether the server sleeps."""

    answer: str = ""
    speeds: tuple[float, ...] = ()
    asleep: bool = False
    unproved: tuple[str, ...] = ()  # sentences about options without a proof of their effect

    @property
    def speed(self) -> float:
        """Return the best speed in tokens per second; 0 if it was not measured."""
        return max(self.speeds, default=0.0)


@dataclasses.dataclass
class Clock:
    """The clock, which tests replace."""

    now: typing.Callable[[], float] = time.monotonic
    pause: typing.Callable[[float], None] = time.sleep


def ready_limit(ready_timeout: int, size: int) -> Limit:
    """Return ``llama_server_ready_timeout``, or if it is 0, 120 s plus 1 s per 50 MB of the model's ``size`` in bytes.

    The first start of CUDA takes most of two minutes if it compiles its code, and a file system slower than 50 MB/s
    is not fit to serve from.
    """
    if ready_timeout:
        return Limit(ready_timeout, "llama_server_ready_timeout")
    return Limit(
        round(120 + size / 50e6),
        f"120 s and 1 s for each 50 MB of the model's {size / 1e6:.0f}; llama_server_ready_timeout sets another limit",
    )


def pass_gate(
    ask: Ask,
    expected: Expected,
    limit: Limit,
    alive: Alive,
    loading: typing.Callable[[], None] = lambda: None,
    clock: Clock | None = None,
) -> Passed:
    """Wait until the server is ready, within ``limit``, and return its answer to the prompt and its speed.

    ``loading`` is called once, when the server listens and loads its model. Raises GateError.
    """
    clock = clock or Clock()
    end = clock.now() + limit.seconds
    _wait_for_health(ask, end, limit, alive, loading, clock)
    if expected.mode == server_router.MODE:
        return _prove_router(ask, expected, end, alive, clock)
    asleep = _check_properties(ask, expected)
    if expected.untouched and (asleep or not expected.prompt):
        return Passed(asleep=asleep)
    return _Prover(ask, expected, end, alive, clock).prove()


def _prove_router(ask: Ask, expected: Expected, end: float, alive: Alive, clock: Clock) -> Passed:
    """Check that a router lists models and that one of them generates.

    A loaded model is preferred; another one is unloaded afterwards. A brief check loads none.
    """
    properties = _properties(ask)
    if properties.get("role") != server_router.MODE:
        raise GateError(f"it is no router, but serves the model {properties.get('model_path')}")
    models = router.listed(ask("/v1/models", None, 30.0))
    if not models:
        raise GateError("it finds no model in the place that llama_server_extra_options names")
    loaded = [name for name, status in models.items() if status == "loaded"]
    unused = expected.untouched and not expected.prompt
    if unused or (not loaded and (expected.brief or not properties.get("models_autoload"))):
        return Passed()
    name = next(iter([*loaded, *models]))
    try:
        answer = _Prover(router.asker_of(ask, name, loads=not loaded), expected, end, alive, clock).prove().answer
    except GateError as error:
        raise type(error)(f"of its model {name}: {error}") from error
    if not loaded:
        ask("/models/unload", {"model": name}, 30.0)
    return Passed(answer)


def _wait_for_health(
    ask: Ask, end: float, limit: Limit, alive: Alive, loading: typing.Callable[[], None], clock: Clock
) -> None:
    """Poll /health until it answers 200. Raises GateError if the process ends or the limit passes."""
    reported = False
    while True:
        reason = alive()
        if reason:
            raise GateError(reason)
        reply = ask("/health", None, min(5.0, max(1.0, end - clock.now())))
        if reply.status == _HTTP_OK:
            return
        if reply.status and not reported:
            loading()
            reported = True
        if clock.now() >= end:
            state = f"/health answered {reply.status}" if reply.status else "no response from /health"
            raise GateError(f"it was not ready within {limit.seconds:g} s ({limit.reason}): {state}")
        clock.pause(0.1)


def _properties(ask: Ask) -> typing.Mapping[str, typing.Any]:
    """Return the body of /props. Raises GateError."""
    reply = ask("/props", None, 30.0)
    if reply.status == _UNAUTHORIZED:
        raise GateError("it rejected the API key")
    if reply.status != _HTTP_OK:
        raise GateError(f"/props answered {reply.status}: {reply.text}")
    return reply.body


def _check_properties(ask: Ask, expected: Expected) -> bool:
    """Return whether the server sleeps; raise GateError if its model, alias, slots or context are not as expected."""
    properties = _properties(ask)
    model = properties.get("model_path")
    if model != expected.model:
        raise GateError(f"it serves the model {model}, not {expected.model}")
    alias = properties.get("model_alias")
    # Newer releases split the alias at commas, older ones do not.
    if expected.alias and alias and alias not in {expected.alias, *map(str.strip, expected.alias.split(","))}:
        raise GateError(f"it calls its model {alias}, not {expected.alias}")
    slots = properties.get("total_slots")
    if slots != expected.slots:
        raise GateError(f"it has {slots} slots, not llama_server_parallel, which is {expected.slots}")
    context = (properties.get("default_generation_settings") or {}).get("n_ctx", 0)
    if context < expected.context:
        raise GateError(
            f"each slot has a context of {context} tokens, and llama_server_ctx_size is {expected.context}: the model "
            f"was not trained for more"
        )
    return properties.get("is_sleeping") is True


_VECTOR_PROBES: dict[str, tuple[str, dict[str, typing.Any], str]] = {
    "embedding": ("/v1/embeddings", {"input": "Hello"}, "data"),
    "rerank": ("/v1/rerank", {"query": "Hello", "documents": ["Hello"]}, "results"),
}
_TEXT = Plain(0)
_CHOICES = Many(
    Record(optional={"message": Maybe(Record(optional={"content": Maybe(_TEXT), "reasoning_content": Maybe(_TEXT)}))}),
    least=1,
)


@dataclasses.dataclass
class _Prover:
    """A test by real inference, because a health check tests neither the model nor the device."""

    ask: Ask
    expected: Expected
    end: float
    alive: Alive
    clock: Clock

    def prove(self) -> Passed:
        expected = self.expected
        if expected.mode in _VECTOR_PROBES:
            reply = self._request(*_VECTOR_PROBES[expected.mode])
            fault = server_speed.bad_vector(reply.body)
            if fault:
                raise GateError(f"it answered with {fault}: its model is broken")
            return Passed()
        speeds = () if expected.brief else self._generate()
        if expected.brief and not expected.prompt:
            self._completion(server_speed.payload(tokens=BRIEF_TOKENS))
        return Passed(self._answer() if expected.prompt else "", speeds)

    def _generate(self) -> tuple[float, ...]:
        """Generate tokens and check their sense; return the tokens per second of each try. Raises GateError."""
        sample = self._completion(server_speed.payload())
        fault = server_speed.nonsense(sample)
        for prompt in server_speed.PROMPTS[1:]:
            if fault:
                sample = self._completion(server_speed.payload(prompt))
                fault = fault if server_speed.nonsense(sample) else ""
        fault = self._judged(fault) if fault else ""
        if fault:
            raise GateError(
                f"it generates {fault}: its model's files are damaged, or this release computes wrongly on this device"
            )
        speeds = [sample.speed]
        wanted = self.expected.speed
        while wanted and not wanted.is_met(max(speeds)) and len(speeds) < server_speed.TRIES:
            speeds.append(self._completion(server_speed.payload()).speed)
        return tuple(speeds)

    def _judged(self, fault: str) -> str:
        """Judge nonsense by the probabilities behind it, which takes more requests and is only done for nonsense."""
        payloads = [
            server_speed.payload(prompt, server_speed.PLACES, server_speed.LIKELIEST) for prompt in server_speed.PROMPTS
        ]
        replies = [self._request("/completion", payload, "tokens_predicted") for payload in payloads]
        return server_speed.judged(
            fault, [place for reply in replies for place in server_speed.likelihoods(reply.body)]
        )

    def _completion(self, payload: dict[str, typing.Any]) -> server_speed.Sample:
        return server_speed.sample(self._request("/completion", payload, "tokens_predicted").body)

    def _answer(self) -> str:
        message = {"role": "user", "content": self.expected.prompt}
        payload = {"messages": [message], "max_tokens": ANSWER_TOKENS, "temperature": 0}
        reply = self._request("/v1/chat/completions", payload, "choices")
        answered = lenient(reply.body["choices"], _CHOICES, [{}])[0].get("message") or {}
        # A reasoning model may use up its tokens before it answers.
        answer = str(answered.get("content") or answered.get("reasoning_content") or "").strip()
        if not answer:
            raise AnswerError("its answer to the prompt is empty")
        return answer

    def _request(self, path: str, payload: dict[str, typing.Any], proof: str) -> Reply:
        """Return the reply, which must hold the key ``proof``. Raises GateError and AnswerError."""
        limit = max(30.0, self.end - self.clock.now())
        reply = self.ask(path, payload, limit)
        if reply.status == 0:
            # A crash closes the connection shortly before the process is gone.
            self.clock.pause(0.5)
            reason = self.alive()
            if reason:
                raise GateError(reason)
            raise AnswerError(f"{path} gave no answer within {limit:.0f} s: {reply.text}")
        if reply.status != _HTTP_OK or not reply.body.get(proof):
            raise AnswerError(f"{path} answered {reply.status}: {reply.text}")
        return reply
