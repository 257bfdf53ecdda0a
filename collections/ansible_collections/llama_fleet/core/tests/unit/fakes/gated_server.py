# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""A server that answers the gate's questions from a table."""

from __future__ import annotations

import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate import gate as server_gate
from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate.gate import Expected, Limit, Passed, Reply


def said(
    text: str = " six, seven, eight", speed: float = 50.0, count: int = 16, tokens: typing.Sequence[int] = ()
) -> Reply:
    given = list(tokens or range(count))
    return Reply(
        200, {"content": text, "tokens": given, "tokens_predicted": count, "timings": {"predicted_per_second": speed}}
    )


def told(likeliest: list[float | None]) -> Reply:
    """Return a reply with the probabilities of the likeliest tokens."""
    places = [{"top_logprobs": [{"logprob": each} for each in likeliest]}] * 4
    return Reply(200, {**said(count=4).body, "completion_probabilities": places})


PROPS = {"model_path": "/m.gguf", "total_slots": 2, "default_generation_settings": {"n_ctx": 512}}
EXPECTED = Expected("/m.gguf", 2, 512)
CHAT = {"choices": [{"message": {"content": " Paris. "}}]}


class Server:
    """A scripted server with a clock that only it advances."""

    def __init__(self, **replies: list[Reply]) -> None:
        self.replies = {"health": [Reply(200, {})], "props": [Reply(200, PROPS)], "completion": [said()], **replies}
        self.asked: list[str] = []
        self.time = 0.0
        self.deaths = [""]

    def ask(self, path: str, payload: typing.Mapping[str, typing.Any] | None, timeout: float) -> Reply:
        del payload, timeout
        self.asked.append(path)
        name = path.rsplit("/", 1)[-1]
        return self.replies[name].pop(0) if len(self.replies[name]) > 1 else self.replies[name][0]

    def pause(self, seconds: float) -> None:
        self.time += seconds

    def gate(self, expected: Expected = EXPECTED, loading: typing.Callable[[], None] = lambda: None) -> Passed:
        def alive() -> str:
            return self.deaths.pop(0) if len(self.deaths) > 1 else self.deaths[0]

        return server_gate.pass_gate(
            self.ask, expected, Limit(10, "because"), alive, loading, server_gate.Clock(lambda: self.time, self.pause)
        )
