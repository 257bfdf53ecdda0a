# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test the gate of servers that are good: what it asks of them, and when it waits."""

from __future__ import annotations

import http.server
import json
import socket
import threading
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate import gate as server_gate
from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate.gate import Expected, Limit, Passed, Reply
from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate.speed import Baseline
from ansible_collections.llama_fleet.core.tests.unit.fakes.gated_server import CHAT, PROPS, Server, said, told
from ansible_collections.llama_fleet.core.tests.unit.fakes.metrics_server import here


def test_a_good_server_passes_after_loading() -> None:
    server = Server(health=[Reply(0, {}), Reply(503, {}), Reply(503, {}), Reply(200, {})])
    told: list[bool] = []
    assert server.gate(loading=lambda: told.append(True)) == Passed("", (50.0,))
    assert told == [True]
    assert server.asked == ["/health"] * 4 + ["/props", "/completion"]


@pytest.mark.parametrize(
    ("expected", "replies", "asked", "answer"),
    [
        (
            Expected("/m.gguf", 2, 512, prompt="Hi"),
            {"completions": [Reply(200, CHAT)]},
            "/v1/chat/completions",
            "Paris.",
        ),
        (
            Expected("/m.gguf", 2, 512, prompt="Hi"),
            {"completions": [Reply(200, {"choices": [{"message": {"content": "", "reasoning_content": "Hm"}}]})]},
            "/v1/chat/completions",
            "Hm",
        ),
        (
            Expected("/m.gguf", 2, 512, "embedding", "Hi"),
            {"embeddings": [Reply(200, {"data": [{"embedding": [0.5]}]})]},
            "/v1/embeddings",
            "",
        ),
        (
            Expected("/m.gguf", 2, 512, "rerank"),
            {"rerank": [Reply(200, {"results": [{"relevance_score": -3.5}]})]},
            "/v1/rerank",
            "",
        ),
        (Expected("/m.gguf", 2, 256), {}, "/completion", ""),
        (
            Expected("/m.gguf", 2, 256, alias="m.gguf"),
            {"props": [Reply(200, {**PROPS, "model_alias": "m.gguf"})]},
            "/completion",
            "",
        ),
        # A newer release shows one of several names, an older one takes the whole alias as one name.
        (
            Expected("/m.gguf", 2, 256, alias="small, chat"),
            {"props": [Reply(200, {**PROPS, "model_alias": "chat"})]},
            "/completion",
            "",
        ),
        (
            Expected("/m.gguf", 2, 256, alias="small, chat"),
            {"props": [Reply(200, {**PROPS, "model_alias": "small, chat"})]},
            "/completion",
            "",
        ),
        # A model with random weights repeats one token, but is not sure of it.
        (
            Expected("/m.gguf", 2, 512),
            {"completion": [said("!!!!"), said("????"), told([-1.5, -1.8]), told([-2.0, -2.1])]},
            "/completion",
            "",
        ),
        # Sixteen letters make sense for one of the two questions.
        (Expected("/m.gguf", 2, 512), {"completion": [said("......"), said(" Rome")]}, "/completion", ""),
    ],
)
def test_what_the_server_is_for_is_what_it_is_asked(
    expected: Expected, replies: dict[str, list[Reply]], asked: str, answer: str
) -> None:
    server = Server(**replies)
    assert server.gate(expected).answer == answer
    assert server.asked[-1] == asked


def test_one_that_did_not_change_is_asked_no_more_than_it_needs() -> None:
    server = Server(completion=[said("..", count=2)])
    assert server.gate(Expected("/m.gguf", 2, 512, brief=True)) == Passed()
    assert server.asked == ["/health", "/props", "/completion"]
    chatting = Server(completions=[Reply(200, CHAT)])
    assert chatting.gate(Expected("/m.gguf", 2, 512, prompt="Hi", brief=True)) == Passed("Paris.")
    assert chatting.asked == ["/health", "/props", "/v1/chat/completions"]


@pytest.mark.parametrize("prompt", ["", "Hi"])
def test_one_that_sleeps_is_not_woken(prompt: str) -> None:
    server = Server(props=[Reply(200, {**PROPS, "is_sleeping": True})])
    assert server.gate(Expected("/m.gguf", 2, 512, prompt=prompt, brief=True, untouched=True)) == Passed(asleep=True)
    assert server.asked == ["/health", "/props"]


def test_one_that_was_started_proves_itself_even_if_it_fell_asleep() -> None:
    server = Server(props=[Reply(200, {**PROPS, "is_sleeping": True})], completion=[said("..", count=2)])
    assert server.gate(Expected("/m.gguf", 2, 512, brief=True)) == Passed()
    assert server.asked[-1] == "/completion"


def test_one_that_runs_on_gives_no_slot_unless_a_prompt_asks_for_it() -> None:
    server = Server(completions=[Reply(200, CHAT)])
    assert server.gate(Expected("/m.gguf", 2, 512, brief=True, untouched=True)) == Passed()
    assert server.asked == ["/health", "/props"]
    assert server.gate(Expected("/m.gguf", 2, 512, prompt="Hi", brief=True, untouched=True)) == Passed("Paris.")


@pytest.mark.parametrize("speeds", [[41.0], [10.0, 40.0], [10.0, 20.0, 40.5], [10.0, 39.0, 20.0]])
def test_the_best_of_three_speeds_counts_and_no_more_are_taken_than_needed(speeds: list[float]) -> None:
    server = Server(completion=[said(speed=speed) for speed in speeds])
    passed = server.gate(Expected("/m.gguf", 2, 512, speed=Baseline(0.5, 80.0, 3)))
    assert (passed.speed, passed.speeds) == (max(speeds), tuple(speeds))
    assert server.asked.count("/completion") == len(speeds)


@pytest.mark.parametrize(
    ("timeout", "size", "seconds", "reason"),
    [
        (60, 10**12, 60, "llama_server_ready_timeout"),
        (0, 0, 120, "120 s and 1 s for each 50 MB of the model's 0; llama_server_ready_timeout sets another limit"),
        (
            0,
            50 * 10**9,
            1120,
            "120 s and 1 s for each 50 MB of the model's 50000; llama_server_ready_timeout sets another limit",
        ),
    ],
)
def test_the_time_limit_grows_with_the_model_where_none_is_set(
    timeout: int, size: int, seconds: float, reason: str
) -> None:
    assert server_gate.ready_limit(timeout, size) == Limit(seconds, reason)


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
        """Suppress the log."""


def test_real_http_with_a_key_and_past_any_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        base = server_gate.endpoint("127.0.0.1", server.server_address[1])
        assert server_gate.asker(base, here("key"))("/x", {"a": 1}, 5) == Reply(
            200, {"seen": {"a": 1}}, '{"seen": {"a": 1}}'
        )
        assert server_gate.asker(base, here(""))("/x", {"a": 1}, 5).status == 401
        server.shutdown()
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        assert server_gate.asker(server_gate.endpoint("127.0.0.1", bound.getsockname()[1]))("/x", None, 1).status == 0
