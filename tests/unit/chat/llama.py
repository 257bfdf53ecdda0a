# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Serve the chat API of llama-server on loopback, with answers that a test sets."""

import contextlib
import dataclasses
import http.server
import json
import ssl
import threading
import typing
from collections.abc import Iterator

FULL = {"error": {"code": 400, "message": "request (9 tokens) exceeds it", "type": "exceed_context_size_error"}}


def chunk(content: str | None = None, **more: object) -> dict[str, object]:
    """Return a part of a streamed answer."""
    delta = {} if content is None else {"content": content}
    return {"object": "chat.completion.chunk", "choices": [{"index": 0, "finish_reason": None, "delta": delta}], **more}


TIMINGS = {"predicted_n": 5, "predicted_per_second": 12.5}
ANSWER = (
    {"choices": [{"index": 0, "finish_reason": None, "delta": {"role": "assistant", "content": None}}]},
    chunk(" Blue"),
    chunk(" sky."),
    {"choices": [{"index": 0, "finish_reason": "stop", "delta": {}}]},
    {"choices": [], "usage": {"completion_tokens": 5}, "timings": TIMINGS},
)


@dataclasses.dataclass
class Behaviour:
    """The answers of a server, and the requests it got: path, key and body."""

    chunks: typing.Sequence[typing.Any] = ANSWER
    key: str = ""
    refusal: tuple[int, object] | None = None
    models: typing.Any = dataclasses.field(default_factory=lambda: {"data": [{"id": "small"}, {"id": "large"}]})
    interface: bool = False
    # Bytes that are sent instead of a reply, one by one, until the client leaves.
    drip: bytes = b""
    content_type: str = "text/event-stream"
    asked: list[tuple[str, str, typing.Any]] = dataclasses.field(default_factory=list)


class Llama(http.server.ThreadingHTTPServer):
    """A server of one behaviour."""

    daemon_threads = True

    def __init__(self, behaviour: Behaviour) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.behaviour = behaviour

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore a client that left."""


class Handler(http.server.BaseHTTPRequestHandler):
    server: Llama

    def do_GET(self) -> None:
        behaviour = self.server.behaviour
        behaviour.asked.append((self.path, self.headers.get("Authorization", ""), None))
        if self.path == "/" and behaviour.interface:
            self._say(200, b"<html>", "text/html; charset=utf-8")
        elif self.path == "/v1/models":
            self._say(*(behaviour.refusal or (200, behaviour.models)))
        else:
            self._say(404, {"error": {"message": "File Not Found", "type": "not_found_error"}})

    def do_POST(self) -> None:
        behaviour = self.server.behaviour
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        key = self.headers.get("Authorization", "")
        behaviour.asked.append((self.path, key, body))
        if behaviour.key and key != f"Bearer {behaviour.key}":
            self._say(401, {"error": {"message": "Invalid API Key", "type": "authentication_error"}})
        elif behaviour.refusal:
            self._say(*behaviour.refusal)
        elif behaviour.drip:
            self._drip(behaviour.drip)
        else:
            self._stream(behaviour)

    def _stream(self, behaviour: Behaviour) -> None:
        self.send_response(200)
        self.send_header("Content-Type", behaviour.content_type)
        self.end_headers()
        for each in behaviour.chunks:
            data = each if isinstance(each, bytes) else f"data: {json.dumps(each)}\n\n".encode()
            self.wfile.write(data)
            self.wfile.flush()
        self.wfile.write(b"data: [DONE]\n\n")

    def _drip(self, data: bytes) -> None:
        gone = threading.Event()
        for each in data:
            self.wfile.write(bytes([each]))
            self.wfile.flush()
            gone.wait(0.01)

    def _say(self, status: int, body: object, kind: str = "application/json") -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_arguments: object) -> None:
        """Print nothing."""


@contextlib.contextmanager
def serving(behaviour: Behaviour | None = None, pair: tuple[str, str] | None = None) -> Iterator[Llama]:
    """Serve inside the context, with TLS if ``pair`` names the files of a certificate and its key."""
    with Llama(behaviour or Behaviour()) as server:
        if pair:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*pair)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        try:
            yield server
        finally:
            server.shutdown()


def url(server: Llama, scheme: str = "http") -> str:
    """Return the URL of a server."""
    return f"{scheme}://127.0.0.1:{server.server_port}"
