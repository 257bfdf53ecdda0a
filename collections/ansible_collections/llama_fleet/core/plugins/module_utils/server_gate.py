# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""What must hold before a running llama-server counts as ready: asked over its own HTTP."""

from __future__ import annotations

import dataclasses
import http.client
import json
import ssl
import time
import typing
import urllib.error
import urllib.request

ANSWER_TOKENS = 64
_HTTP_OK = 200
_UNAUTHORIZED = 401


class GateError(Exception):
    """The instance is not good, and why."""


class AnswerError(GateError):
    """It is the right server, in good health, and only did not answer what it was asked."""


@dataclasses.dataclass(frozen=True)
class Reply:
    """``status`` is 0 where nobody answered."""

    status: int
    body: typing.Mapping[str, typing.Any]
    text: str = ""


Ask = typing.Callable[[str, typing.Optional[typing.Mapping[str, typing.Any]], float], Reply]


@dataclasses.dataclass(frozen=True)
class Expected:
    """What the server must say of itself. ``mode`` is completion, embedding or rerank: what it is there for."""

    model: str
    slots: int
    context: int
    mode: str = "completion"
    prompt: str = ""


@dataclasses.dataclass
class Clock:
    """Time, replaced by tests."""

    now: typing.Callable[[], float] = time.monotonic
    pause: typing.Callable[[float], None] = time.sleep


def endpoint(host: str, port: int, secure: bool = False) -> str:
    """Where a client on this host reaches a server that listens on ``host``."""
    reached = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"{'https' if secure else 'http'}://{reached}:{port}"


def asker(base: str, api_key: str = "") -> Ask:
    """Asks a server by HTTP: never through a proxy, with its key, trusting its own certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {api_key}"} if api_key else {})}

    def ask(path: str, payload: typing.Mapping[str, typing.Any] | None, timeout: float) -> Reply:
        data = None if payload is None else json.dumps(payload).encode("utf-8")
        request = urllib.request.Request(base + path, data=data, headers=headers)
        try:
            with opener.open(request, timeout=timeout) as response:
                return _reply(response.status, response.read())
        except urllib.error.HTTPError as error:
            with error:
                return _reply(error.code, error.read())
        except (OSError, http.client.HTTPException) as error:
            return Reply(0, {}, str(error))

    return ask


def _reply(status: int, data: bytes) -> Reply:
    text = data.decode("utf-8", "replace")
    try:
        body = json.loads(text)
    except ValueError:
        body = {}
    return Reply(status, body if isinstance(body, dict) else {}, text[:300])


def pass_gate(
    ask: Ask,
    expected: Expected,
    limit: float,
    alive: typing.Callable[[], str],
    loading: typing.Callable[[], None] = lambda: None,
    clock: Clock | None = None,
) -> str:
    """Wait until the server is ready, at most ``limit`` seconds, and return its answer to the prompt.

    ``alive`` says why the process ended, or nothing while it lives; ``loading`` is told once that
    the server listens and loads its model.
    """
    clock = clock or Clock()
    end = clock.now() + limit
    _wait_for_health(ask, end, limit, alive, loading, clock)
    _check_properties(ask, expected)
    return _generate(ask, expected, end, alive, clock)


def _wait_for_health(ask: Ask, end: float, limit: float, alive: typing.Callable[[], str], loading: typing.Callable[[], None], clock: Clock) -> None:
    told = False
    while True:
        reason = alive()
        if reason:
            raise GateError(reason)
        reply = ask("/health", None, 5.0)
        if reply.status == _HTTP_OK:
            return
        if reply.status and not told:
            loading()
            told = True
        if clock.now() >= end:
            state = f"/health answered {reply.status}" if reply.status else "nobody answered /health"
            raise GateError(f"it was not ready within llama_server_ready_timeout, {limit:g} s: {state}")
        clock.pause(0.1)


def _check_properties(ask: Ask, expected: Expected) -> None:
    reply = ask("/props", None, 30.0)
    if reply.status == _UNAUTHORIZED:
        raise GateError("it refused our API key")
    if reply.status != _HTTP_OK:
        raise GateError(f"/props answered {reply.status}: {reply.text}")
    model = reply.body.get("model_path")
    if model != expected.model:
        raise GateError(f"it serves the model {model}, not {expected.model}")
    slots = reply.body.get("total_slots")
    if slots != expected.slots:
        raise GateError(f"it has {slots} slots, not llama_server_parallel, which is {expected.slots}")
    context = (reply.body.get("default_generation_settings") or {}).get("n_ctx", 0)
    if context < expected.context:
        raise GateError(f"each slot has a context of {context} tokens, and llama_server_ctx_size is {expected.context}: the model was trained for no more")


_PROBES: dict[str, tuple[str, dict[str, typing.Any], str]] = {
    "completion": ("/completion", {"prompt": "Hello", "n_predict": 2, "temperature": 0}, "tokens_predicted"),
    "embedding": ("/v1/embeddings", {"input": "Hello"}, "data"),
    "rerank": ("/v1/rerank", {"query": "Hello", "documents": ["Hello"]}, "results"),
}


def _generate(ask: Ask, expected: Expected, end: float, alive: typing.Callable[[], str], clock: Clock) -> str:
    """One real inference: a health check tests neither the model nor the device."""
    chat = bool(expected.prompt) and expected.mode == "completion"
    path, payload, proof = _PROBES[expected.mode]
    if chat:
        message = {"role": "user", "content": expected.prompt}
        path, payload, proof = "/v1/chat/completions", {"messages": [message], "max_tokens": ANSWER_TOKENS, "temperature": 0}, "choices"
    limit = max(30.0, end - clock.now())
    reply = ask(path, payload, limit)
    if reply.status == 0:
        # A crash closes the connection a moment before the process is seen to be gone.
        clock.pause(0.5)
        reason = alive()
        if reason:
            raise GateError(reason)
        raise AnswerError(f"{path} got no answer within {limit:.0f} s: {reply.text}")
    if reply.status != _HTTP_OK or not reply.body.get(proof):
        raise AnswerError(f"{path} answered {reply.status}: {reply.text}")
    return _answer(reply) if chat else ""


def _answer(reply: Reply) -> str:
    message = reply.body["choices"][0].get("message", {})
    # A reasoning model may still be thinking when its tokens are used up.
    answer = str(message.get("content") or message.get("reasoning_content") or "").strip()
    if not answer:
        raise AnswerError("it answered the prompt with nothing")
    return answer
