"""A stand-in for llama-server behind a gateway: it speaks HTTP as the real one does, and computes nothing.

The step `gateway` also runs real llama-servers; this one is for what needs control of every moment.
"""

from __future__ import annotations

import http.server
import json
import threading
import time
import typing


class StandIn:
    """A server on a port of the loopback address; ``seconds`` is how long an answer takes."""

    def __init__(self, name: str, port: int = 0, seconds: float = 0.1) -> None:
        self.name = name
        self.seconds = seconds
        self.healthy = True
        self.busy = 0
        self.peak = 0
        self.keys: list[str] = []
        self._lock = threading.Lock()
        self._server = self._listen(port)
        self.port = self._server.server_address[1]

    def _listen(self, port: int) -> _Server:
        server = _Server(("127.0.0.1", port), type("Handler", (_Handler,), {"owner": self}))
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return server

    def stop(self) -> None:
        """End as llama-server does: what runs is cut."""
        self._server.shutdown()
        self._server.server_close()
        for connection in list(self._server.connections):
            connection.close()

    def restart(self) -> None:
        self.stop()
        self._server = self._listen(self.port)

    def count(self, change: int) -> None:
        with self._lock:
            self.busy += change
            self.peak = max(self.peak, self.busy)


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, *arguments: typing.Any) -> None:
        self.connections: set[typing.Any] = set()
        super().__init__(*arguments)

    def finish_request(self, request: typing.Any, client_address: typing.Any) -> None:
        self.connections.add(request)
        try:
            super().finish_request(request, client_address)
        finally:
            self.connections.discard(request)

    def handle_error(self, request: typing.Any, client_address: typing.Any) -> None:
        """Ignore it: a client that leaves is part of a test."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner: StandIn

    def do_GET(self) -> None:
        self._answer(200 if self.owner.healthy else 503, {"status": "ok" if self.owner.healthy else "loading"})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
        self.owner.keys.append(self.headers.get("Authorization", ""))
        # It is idle before its answer ends, because the next request may come as soon as the client has the whole.
        self.owner.count(1)
        if body.get("stream"):
            try:
                self._stream(int(body.get("events", 10)))
            finally:
                self.owner.count(-1)
            self.wfile.write(b"0\r\n\r\n")
        else:
            time.sleep(self.owner.seconds)
            self.owner.count(-1)
            self._answer(200, {"server": self.owner.name, "model": body.get("model"), "path": self.path})

    def _answer(self, status: int, content: typing.Any) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _stream(self, events: int) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for number in range(events):
            self._chunk(f'data: {{"server": "{self.owner.name}", "number": {number}}}\n\n')
            time.sleep(self.owner.seconds / events)
        self._chunk("data: [DONE]\n\n")

    def _chunk(self, text: str) -> None:
        # In three parts, as llama-server does.
        for part in (f"{len(text):x}\r\n", text, "\r\n"):
            self.wfile.write(part.encode())

    def log_message(self, *arguments: typing.Any) -> None:
        """Keep the tests' output clean."""
