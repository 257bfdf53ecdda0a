# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Speeds with many clients at once, and the order of the cases."""

from __future__ import annotations

import http.server
import json
import threading
import typing

from tests.gpu import crowd, session
from tests.gpu.phases import speeds

if typing.TYPE_CHECKING:
    import pytest


class Server(http.server.BaseHTTPRequestHandler):
    """An instance that answers only when as many clients wait as it was told to expect."""

    asked: typing.ClassVar[list[dict[str, typing.Any]]] = []
    together: typing.ClassVar[threading.Barrier]

    def do_POST(self) -> None:
        question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append(question)
        self.together.wait(10)
        body = json.dumps(
            {"timings": {"prompt_n": len(question["prompt"]), "predicted_n": question["n_predict"]}}
        ).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        pass


def test_many_clients_ask_at_once_and_their_tokens_are_counted_together(monkeypatch: pytest.MonkeyPatch) -> None:
    Server.asked.clear()
    Server.together = threading.Barrier(4)
    clock = iter([0.0, 2.0, 10.0, 14.0])
    monkeypatch.setattr("tests.gpu.crowd.time.monotonic", lambda: next(clock))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        found = crowd.ask(
            f"http://127.0.0.1:{server.server_address[1]}", vocabulary=400, clients=4, prompt=32, tokens=10
        )
        server.shutdown()
    assert (found["prompt_tokens_per_second"], found["generated_tokens_per_second"]) == (4 * 32 / 2, 4 * 10 / 4)
    assert len({tuple(question["prompt"][:16]) for question in Server.asked}) == 8, "nobody asks what another has asked"
    assert [question["n_predict"] for question in Server.asked] == [1] * 4 + [10] * 4
    assert all(259 <= word < 400 for question in Server.asked for word in question["prompt"])


def test_the_cases_that_say_most_come_first() -> None:
    models = [session.shapes("Q8_0")[name] for name in ("1b", "8b")]
    first = speeds.cases(models, speeds.WAYS[:1])
    assert [(case.model.name, case.by, case.clients) for case in first] == [
        ("8b-Q8_0", speeds.SERVER, 1),
        ("8b-Q8_0", speeds.BENCH, 1),
        ("8b-Q8_0", speeds.SERVER, 16),
        ("1b-Q8_0", speeds.SERVER, 1),
        ("1b-Q8_0", speeds.BENCH, 1),
        ("1b-Q8_0", speeds.SERVER, 16),
    ]
    others = speeds.cases(models, speeds.WAYS[1:])
    assert {(case.flash_attn, case.cache_type) for case in others} == {("off", "f16"), ("on", "q8_0")}
    assert len({json.dumps(case.key) for case in first + others}) == 18
    assert set(first[0].key) == set(speeds.KEYS)
