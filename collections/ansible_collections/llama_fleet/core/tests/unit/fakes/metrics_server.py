# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""A llama-server's HTTP without a model: what it answers is a table."""

from __future__ import annotations

import contextlib
import dataclasses
import http.server
import os
import threading
import time
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.host import processes
from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate import trust as server_trust

METRICS = """\
# HELP llamacpp:tokens_predicted_total Number of generation tokens processed.
# TYPE llamacpp:tokens_predicted_total counter
llamacpp:tokens_predicted_total 1234
llamacpp:predicted_tokens_seconds 41.256
llamacpp:prompt_tokens_seconds 310.5
llamacpp:requests_processing 1
llamacpp:requests_deferred 2
"""
SLOTS = '[{"id": 0, "is_processing": true}, {"id": 1, "is_processing": false}, {"id": 2, "is_processing": true}]'


@dataclasses.dataclass
class Fake:
    """``pages`` is status and body by path; without ``key`` in a request all but /health answers 401."""

    pages: dict[str, tuple[int, str]]
    key: str = ""
    seconds_a_byte: float = 0.0
    port: int = 0
    asked: list[str] = dataclasses.field(default_factory=list)
    # What came with each question as its authorization.
    keys: list[str] = dataclasses.field(default_factory=list)


def healthy(**more: typing.Any) -> Fake:
    return Fake({"/health": (200, '{"status": "ok"}'), "/slots": (200, SLOTS), "/metrics": (200, METRICS)}, **more)


def here(key: str = "") -> server_trust.Trust:
    """Return the trust in an instance whose server is this process, as in ``serving``."""
    process = processes.find(os.getpid())
    assert process is not None
    return server_trust.Trust(process, key=key)


@contextlib.contextmanager
def serving(fake: Fake) -> typing.Iterator[Fake]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            fake.asked.append(self.path)
            fake.keys.append(self.headers.get("Authorization", ""))
            allowed = (
                self.path == "/health" or not fake.key or self.headers.get("Authorization") == f"Bearer {fake.key}"
            )
            status, text = fake.pages.get(self.path, (404, "")) if allowed else (401, "")
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            with contextlib.suppress(OSError):
                self._write(text.encode("utf-8"))

        def _write(self, body: bytes) -> None:
            step = 1 if fake.seconds_a_byte else max(1, len(body))
            for start in range(0, len(body), step):
                time.sleep(fake.seconds_a_byte)
                self.wfile.write(body[start : start + step])

        def log_message(self, *_arguments: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        fake.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield fake
        finally:
            server.shutdown()
            thread.join()
