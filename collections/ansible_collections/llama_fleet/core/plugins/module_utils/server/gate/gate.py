# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""What must hold before a running llama-server counts as ready: asked over its own HTTP."""

from __future__ import annotations

import dataclasses
import time
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate import router
from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate import speed as server_speed
from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate.client import Ask, Reply, asker, endpoint
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
    "names_of",
    "pass_gate",
    "ready_limit",
]

ANSWER_TOKENS = 64
# An instance that runs and does not change is only asked whether it still generates.
BRIEF_TOKENS = 2
_HTTP_OK = 200
_UNAUTHORIZED = 401


class GateError(Exception):
    """The instance is not good, and why."""


class AnswerError(GateError):
    """It is the right server, in good health, and only did not answer what it was asked."""


class HeldError(GateError):
    """Somebody else has its port, so nobody knows whether it is good: nothing was asked and no key was given."""


@dataclasses.dataclass(frozen=True)
class Expected:
    """What the server must say of itself. ``mode`` is completion, embedding, rerank or router: what it is there for.

    ``brief`` is for one that passed before and did not change. ``speed`` is what it must not fall far behind.
    """

    model: str
    slots: int
    context: int
    mode: str = "completion"
    prompt: str = ""
    alias: str = ""
    brief: bool = False
    speed: server_speed.Baseline | None = None


@dataclasses.dataclass(frozen=True)
class Limit:
    """Seconds that a server has to become ready, and where they come from."""

    seconds: float
    reason: str


@dataclasses.dataclass(frozen=True)
class Passed:
    """The answer to the prompt, and tokens a second; 0 where that was not measured."""

    answer: str = ""
    speed: float = 0.0


@dataclasses.dataclass
class Clock:
    """Time, replaced by tests."""

    now: typing.Callable[[], float] = time.monotonic
    pause: typing.Callable[[float], None] = time.sleep


def ready_limit(ready_timeout: int, size: int) -> Limit:
    """``llama_server_ready_timeout``, or where it is 0 two minutes and a second for each 50 MB of the model's ``size``.

    A first start of CUDA takes most of two minutes where it compiles its code, and no file system worth serving from
    reads slower than 50 MB/s: whatever takes longer hangs.
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
    alive: typing.Callable[[], str],
    loading: typing.Callable[[], None] = lambda: None,
    clock: Clock | None = None,
) -> Passed:
    """Wait until the server is ready, within ``limit``, and return its answer to the prompt and its speed.

    ``alive`` says why the process ended, or nothing while it lives; ``loading`` is told once that
    the server listens and loads its model.
    """
    clock = clock or Clock()
    end = clock.now() + limit.seconds
    _wait_for_health(ask, end, limit, alive, loading, clock)
    if expected.mode == server_router.MODE:
        return _prove_router(ask, expected, end, alive, clock)
    _check_properties(ask, expected)
    return _Prover(ask, expected, end, alive, clock).prove()


def _prove_router(ask: Ask, expected: Expected, end: float, alive: typing.Callable[[], str], clock: Clock) -> Passed:
    """It knows models, and one of them generates: one that is loaded, else it is unloaded again.

    Without a need none is loaded.
    """
    properties = _properties(ask)
    if properties.get("role") != server_router.MODE:
        raise GateError(f"it is no router, but serves the model {properties.get('model_path')}")
    models = router.listed(ask("/v1/models", None, 30.0))
    if not models:
        raise GateError("it finds no model where llama_server_extra_options says they are")
    loaded = [name for name, status in models.items() if status == "loaded"]
    if not loaded and (expected.brief or not properties.get("models_autoload")):
        return Passed()
    name = next(iter([*loaded, *models]))
    try:
        answer = _Prover(router.asker_of(ask, name), expected, end, alive, clock).prove().answer
    except GateError as error:
        raise type(error)(f"of its model {name}: {error}") from error
    if not loaded:
        ask("/models/unload", {"model": name}, 30.0)
    return Passed(answer)


def _wait_for_health(
    ask: Ask,
    end: float,
    limit: Limit,
    alive: typing.Callable[[], str],
    loading: typing.Callable[[], None],
    clock: Clock,
) -> None:
    told = False
    while True:
        reason = alive()
        if reason:
            raise GateError(reason)
        reply = ask("/health", None, min(5.0, max(1.0, end - clock.now())))
        if reply.status == _HTTP_OK:
            return
        if reply.status and not told:
            loading()
            told = True
        if clock.now() >= end:
            state = f"/health answered {reply.status}" if reply.status else "nobody answered /health"
            raise GateError(f"it was not ready within {limit.seconds:g} s ({limit.reason}): {state}")
        clock.pause(0.1)


def _properties(ask: Ask) -> typing.Mapping[str, typing.Any]:
    reply = ask("/props", None, 30.0)
    if reply.status == _UNAUTHORIZED:
        raise GateError("it refused our API key")
    if reply.status != _HTTP_OK:
        raise GateError(f"/props answered {reply.status}: {reply.text}")
    return reply.body


def _check_properties(ask: Ask, expected: Expected) -> None:
    properties = _properties(ask)
    model = properties.get("model_path")
    if model != expected.model:
        raise GateError(f"it serves the model {model}, not {expected.model}")
    alias = properties.get("model_alias")
    if expected.alias and alias and alias not in names_of(expected.alias):
        raise GateError(f"it calls its model {alias}, not {expected.alias}")
    slots = properties.get("total_slots")
    if slots != expected.slots:
        raise GateError(f"it has {slots} slots, not llama_server_parallel, which is {expected.slots}")
    context = (properties.get("default_generation_settings") or {}).get("n_ctx", 0)
    if context < expected.context:
        raise GateError(
            f"each slot has a context of {context} tokens, and llama_server_ctx_size is {expected.context}: the model "
            f"was trained for no more"
        )


def names_of(alias: str) -> set[str]:
    """What a server may call its model: a newer release takes commas to divide several names and shows one, an
    older one knows but one name.
    """
    return {alias, *(name.strip() for name in alias.split(","))}


_VECTOR_PROBES: dict[str, tuple[str, dict[str, typing.Any], str]] = {
    "embedding": ("/v1/embeddings", {"input": "Hello"}, "data"),
    "rerank": ("/v1/rerank", {"query": "Hello", "documents": ["Hello"]}, "results"),
}


_SAID = Plain(0)
_CHOICES = Many(
    Record(optional={"message": Maybe(Record(optional={"content": Maybe(_SAID), "reasoning_content": Maybe(_SAID)}))}),
    least=1,
)


@dataclasses.dataclass
class _Prover:
    """Real inference: a health check tests neither the model nor the device."""

    ask: Ask
    expected: Expected
    end: float
    alive: typing.Callable[[], str]
    clock: Clock

    def prove(self) -> Passed:
        expected = self.expected
        if expected.mode in _VECTOR_PROBES:
            reply = self._request(*_VECTOR_PROBES[expected.mode])
            wrong = server_speed.bad_vector(reply.body)
            if wrong:
                raise GateError(f"it answered with {wrong}: its model is broken")
            return Passed()
        speed = self._brief() if expected.brief else self._generate()
        return Passed(self._answer() if expected.prompt else "", speed)

    def _brief(self) -> float:
        if not self.expected.prompt:
            self._completion(server_speed.payload(tokens=BRIEF_TOKENS))
        return 0.0

    def _generate(self) -> float:
        """Tokens that make sense, fast enough; returns how fast."""
        found = self._completion(server_speed.payload())
        wrong = server_speed.nonsense(found)
        for prompt in server_speed.PROMPTS[1:]:
            if wrong:
                found = self._completion(server_speed.payload(prompt))
                wrong = wrong if server_speed.nonsense(found) else ""
        wrong = self._judged(wrong) if wrong else ""
        if wrong:
            raise GateError(
                f"it generates {wrong}: its model's files are damaged, or this release computes wrongly on this device"
            )
        speeds = [found.speed]
        while server_speed.too_slow(max(speeds), self.expected.speed) and len(speeds) < server_speed.TRIES:
            speeds.append(self._completion(server_speed.payload()).speed)
        reason = server_speed.too_slow(max(speeds), self.expected.speed)
        if reason:
            raise GateError(reason)
        return max(speeds)

    def _judged(self, wrong: str) -> str:
        """Only nonsense is worth two more questions."""
        asked = [
            server_speed.payload(prompt, server_speed.PLACES, server_speed.LIKELIEST) for prompt in server_speed.PROMPTS
        ]
        replies = [self._request("/completion", payload, "tokens_predicted") for payload in asked]
        return server_speed.judged(
            wrong, [place for reply in replies for place in server_speed.likelihoods(reply.body)]
        )

    def _completion(self, payload: dict[str, typing.Any]) -> server_speed.Sample:
        return server_speed.sample(self._request("/completion", payload, "tokens_predicted").body)

    def _answer(self) -> str:
        message = {"role": "user", "content": self.expected.prompt}
        payload = {"messages": [message], "max_tokens": ANSWER_TOKENS, "temperature": 0}
        reply = self._request("/v1/chat/completions", payload, "choices")
        said = lenient(reply.body["choices"], _CHOICES, [{}])[0].get("message") or {}
        # A reasoning model may still be thinking when its tokens are used up.
        answer = str(said.get("content") or said.get("reasoning_content") or "").strip()
        if not answer:
            raise AnswerError("it answered the prompt with nothing")
        return answer

    def _request(self, path: str, payload: dict[str, typing.Any], proof: str) -> Reply:
        limit = max(30.0, self.end - self.clock.now())
        reply = self.ask(path, payload, limit)
        if reply.status == 0:
            # A crash closes the connection a moment before the process is seen to be gone.
            self.clock.pause(0.5)
            reason = self.alive()
            if reason:
                raise GateError(reason)
            raise AnswerError(f"{path} got no answer within {limit:.0f} s: {reply.text}")
        if reply.status != _HTTP_OK or not reply.body.get(proof):
            raise AnswerError(f"{path} answered {reply.status}: {reply.text}")
        return reply
