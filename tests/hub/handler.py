# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Answer HTTP requests for texts, files and ranges, with the faults that are set for them."""

from __future__ import annotations

import contextlib
import dataclasses
import http.server
import json
import select
import socket
import struct
import time
import typing
import urllib.parse

from tests.hub.faults import Fault

if typing.TYPE_CHECKING:
    import pathlib

    from tests.hub.server import Hub

_CHUNK = 1 << 16
_HTML = b"<!DOCTYPE html><html><body>Please log in.</body></html>"
_STALLED = 60.0  # seconds at most


@dataclasses.dataclass(frozen=True)
class Logged:
    """A logged request and its outcome."""

    origin: str  # "front" or "storage"
    method: str
    path: str
    status: int
    sent: int
    first: int  # where the requested range begins
    authorized: bool


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], handler: type[Handler], hub: Hub) -> None:
        super().__init__(address, handler)
        self.hub = hub

    def process_request(self, request: typing.Any, client_address: typing.Any) -> None:
        self.hub.count(connections=1)
        super().process_request(request, client_address)

    def handle_error(self, request: typing.Any, client_address: typing.Any) -> None:
        """Print nothing, because clients abort connections in these tests."""


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    origin = ""

    @property
    def hub(self) -> Hub:
        return typing.cast("Server", self.server).hub

    def do_GET(self) -> None:
        self._sent = 0
        self._status = 0
        with self.hub.serving():
            with contextlib.suppress(ConnectionError):
                path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)
                if not self.hub.hostile(self, path):
                    self.handle_path(path)
            authorized = "Authorization" in self.headers
            self.hub.log.append(
                Logged(self.origin, self.command, self.path, self._status, self._sent, self._range()[0], authorized)
            )

    def do_HEAD(self) -> None:
        self.do_GET()

    def handle_path(self, path: str) -> None:
        raise NotImplementedError

    def log_message(self, *_args: typing.Any, **_named: typing.Any) -> None:
        """Print nothing, because the Hub keeps a log."""

    def query(self, name: str) -> str:
        return urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query).get(name, [""])[0]

    def answer(self, status: int, body: bytes = b"", headers: typing.Mapping[str, str] | None = None) -> None:
        self._status = status
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def answer_json(self, value: typing.Any, headers: typing.Mapping[str, str] | None = None) -> None:
        self.answer(200, json.dumps(value).encode(), {"Content-Type": "application/json", **(headers or {})})

    def refuse(self, status: int, message: str, code: str = "", retry_after: str = "") -> None:
        told = {"X-Error-Message": message, "X-Error-Code": code, "Retry-After": retry_after}
        headers = {"Content-Type": "application/json", **{name: value for name, value in told.items() if value}}
        self.answer(status, json.dumps({"error": message}).encode(), headers)

    def fails(self, name: str) -> bool:
        """Return whether the fault that is set for ``name`` replaced the answer."""
        fault = self.hub.faults.get(name, Fault())
        time.sleep(fault.delay)
        if not fault.refuses(self.origin):
            return False
        self.refuse(fault.status, fault.message, fault.code, fault.retry_after)
        return True

    def _range(self) -> tuple[int, int | None]:
        """Return the first and last byte requested; the last is None for an open range."""
        given = self.headers.get("Range", "").removeprefix("bytes=")
        first, _dash, last = given.partition("-")
        return int(first or 0), int(last) if last else None

    def answer_file(self, place: pathlib.Path, name: str, headers: typing.Mapping[str, str] | None = None) -> None:
        """Send a file or a range of it, with the fault that is set for its name."""
        if self.fails(name):
            return
        fault = self.hub.faults.get(name, Fault())
        with self.hub.answering(name) as others:
            if fault.together and others >= fault.together:
                self.refuse(fault.together_status, "Too many requests at once", "", fault.retry_after)
            elif fault.html:
                self.answer(200, _HTML, {"Content-Type": "text/html"})
            elif fault.pointer:
                self.answer(
                    200,
                    b"version https://git-lfs.github.com/spec/v1\noid sha256:%064d\nsize %d\n"
                    % (0, place.stat().st_size),
                )
            else:
                self._answer_bytes(place, fault, headers or {})

    def _answer_bytes(self, place: pathlib.Path, fault: Fault, headers: typing.Mapping[str, str]) -> None:
        size = place.stat().st_size if fault.size is None else fault.size
        first, last = self._range() if fault.ranges else (0, None)
        last = size - 1 if last is None else min(last, size - 1)
        if first >= size > 0:
            self.answer(416, headers={"Content-Range": f"bytes */{size}"})
            return
        if fault.most:
            last = min(last, first + fault.most - 1)
        ranged = "Range" in self.headers and fault.ranges
        self._status = 206 if ranged else 200
        self.send_response(self._status)
        told = {"Content-Length": str(last - first + 1), "Content-Type": "application/octet-stream", **headers}
        if ranged:
            told["Content-Range"] = f"bytes {first}-{last}/{size}"
        if fault.ranges:
            told["Accept-Ranges"] = "bytes"
        for header, value in told.items():
            self.send_header(header, value)
        self.end_headers()
        if self.command != "HEAD":
            self._send(place, first, last + 1, fault)

    def _send(self, place: pathlib.Path, position: int, end: int, fault: Fault) -> None:
        with place.open("rb") as file:
            file.seek(position)
            while position < end:
                size = min(_CHUNK, end - position)
                chunk = bytearray(file.read(size).ljust(size, b"\0"))
                if fault.flip_at is not None and position <= fault.flip_at < position + size:
                    chunk[fault.flip_at - position] ^= 1
                if self._breaks_off(position, position + size, fault):
                    self.close_connection = True
                    return
                if fault.rate:  # before the bytes: a client that has the last of them may send the next request at once
                    time.sleep(size / fault.rate)
                self._send_chunk(chunk)
                position += size

    def _send_chunk(self, chunk: bytearray) -> None:
        self.hub.count(sent=len(chunk))  # before sending: a test whose client has the last bytes checks at once
        try:
            self.wfile.write(chunk)
        except OSError:
            self.hub.count(sent=-len(chunk))
            raise
        self._sent += len(chunk)

    def _breaks_off(self, position: int, end: int, fault: Fault) -> bool:
        """Return whether a fault between ``position`` and ``end`` ends the connection."""
        if fault.cut_at is not None and position <= fault.cut_at < end and fault.spend("cuts"):
            return True
        if fault.reset_at is not None and position <= fault.reset_at < end and fault.spend("resets"):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            return True
        if fault.stall_at is not None and position <= fault.stall_at < end and fault.spend("stalls"):
            self._stall()
            return True
        return False

    def _stall(self) -> None:
        """Send nothing until the client has gone."""
        for _moment in range(int(_STALLED / 0.05)):
            readable, _writable, _failed = select.select([self.connection], [], [], 0)
            if readable or self.hub.closed.wait(0.05):
                return
