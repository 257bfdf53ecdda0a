# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import http.server
import json
import re
import threading
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils import server_gate
from ansible_collections.llama_fleet.core.plugins.module_utils.server_gate import AnswerError, Expected, GateError, Reply

PROPS = {"model_path": "/m.gguf", "total_slots": 2, "default_generation_settings": {"n_ctx": 512}}
EXPECTED = Expected("/m.gguf", 2, 512)
CHAT = {"choices": [{"message": {"content": " Paris. "}}]}


class Server:
    """A server that says what the test tells it, and a clock that only it moves."""

    def __init__(self, **replies: list[Reply]) -> None:
        self.replies = {"health": [Reply(200, {})], "props": [Reply(200, PROPS)], "completion": [Reply(200, {"tokens_predicted": 2})], **replies}
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

    def gate(self, expected: Expected = EXPECTED, loading: typing.Callable[[], None] = lambda: None) -> str:
        def alive() -> str:
            return self.deaths.pop(0) if len(self.deaths) > 1 else self.deaths[0]

        return server_gate.pass_gate(self.ask, expected, 10, alive, loading, server_gate.Clock(lambda: self.time, self.pause))


def test_a_good_server_passes_after_loading() -> None:
    server = Server(health=[Reply(0, {}), Reply(503, {}), Reply(503, {}), Reply(200, {})])
    told: list[bool] = []
    assert server.gate(loading=lambda: told.append(True)) == ""
    assert told == [True]
    assert server.asked == ["/health"] * 4 + ["/props", "/completion"]


@pytest.mark.parametrize(
    ("expected", "replies", "asked", "answer"),
    [
        (Expected("/m.gguf", 2, 512, prompt="Hi"), {"completions": [Reply(200, CHAT)]}, "/v1/chat/completions", "Paris."),
        (
            Expected("/m.gguf", 2, 512, prompt="Hi"),
            {"completions": [Reply(200, {"choices": [{"message": {"content": "", "reasoning_content": "Hm"}}]})]},
            "/v1/chat/completions",
            "Hm",
        ),
        (Expected("/m.gguf", 2, 512, "embedding", "Hi"), {"embeddings": [Reply(200, {"data": [1]})]}, "/v1/embeddings", ""),
        (Expected("/m.gguf", 2, 512, "rerank"), {"rerank": [Reply(200, {"results": [1]})]}, "/v1/rerank", ""),
        (Expected("/m.gguf", 2, 256), {}, "/completion", ""),
    ],
)
def test_what_the_server_is_for_is_what_it_is_asked(expected: Expected, replies: dict[str, list[Reply]], asked: str, answer: str) -> None:
    server = Server(**replies)
    assert server.gate(expected) == answer
    assert server.asked[-1] == asked


@pytest.mark.parametrize(
    ("replies", "reason"),
    [
        ({"health": [Reply(503, {})]}, "not ready within llama_server_ready_timeout, 10 s: /health answered 503"),
        ({"health": [Reply(0, {})]}, "nobody answered /health"),
        ({"props": [Reply(200, {**PROPS, "model_path": "/other.gguf"})]}, "it serves the model /other.gguf, not /m.gguf"),
        ({"props": [Reply(200, {**PROPS, "total_slots": 4})]}, "it has 4 slots"),
        ({"props": [Reply(200, {**PROPS, "default_generation_settings": {"n_ctx": 128}})]}, "the model was trained for no more"),
        ({"props": [Reply(200, {})]}, "it serves the model None"),
        ({"props": [Reply(401, {})]}, "it refused our API key"),
        ({"props": [Reply(500, {}, "boom")]}, "/props answered 500: boom"),
        ({"completion": [Reply(200, {"tokens_predicted": 0})]}, "/completion answered 200"),
        ({"completion": [Reply(500, {}, "failed to decode")]}, "failed to decode"),
        ({"completion": [Reply(0, {}, "timed out")]}, "got no answer within 30 s: timed out"),
    ],
)
def test_every_failure_has_its_reason(replies: dict[str, list[Reply]], reason: str) -> None:
    with pytest.raises(GateError, match=re.escape(reason)):
        Server(**replies).gate()


def test_an_empty_answer_is_a_failure() -> None:
    with pytest.raises(AnswerError, match="with nothing"):
        Server(completions=[Reply(200, {"choices": [{"message": {"content": ""}}]})]).gate(Expected("/m.gguf", 2, 512, prompt="Hi"))


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


@pytest.mark.parametrize(
    ("host", "secure", "url"),
    [
        ("127.0.0.1", False, "http://127.0.0.1:80"),
        ("0.0.0.0", False, "http://127.0.0.1:80"),
        ("::", True, "https://[::1]:80"),
        ("fe80::1", False, "http://[fe80::1]:80"),
        ("box", False, "http://box:80"),
    ],
)
def test_endpoints(host: str, secure: bool, url: str) -> None:
    assert server_gate.endpoint(host, 80, secure) == url


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        known = self.headers["Authorization"] == "Bearer key"
        data = json.dumps({"seen": json.loads(body)} if known else {"error": "no"}).encode()
        self.send_response(200 if known else 401)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_arguments: typing.Any) -> None:
        """Quiet."""


def test_real_http_with_a_key_and_past_any_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        base = server_gate.endpoint("127.0.0.1", server.server_address[1])
        assert server_gate.asker(base, "key")("/x", {"a": 1}, 5) == Reply(200, {"seen": {"a": 1}}, '{"seen": {"a": 1}}')
        assert server_gate.asker(base)("/x", {"a": 1}, 5).status == 401
        server.shutdown()
    assert server_gate.asker(base)("/x", None, 1).status == 0
