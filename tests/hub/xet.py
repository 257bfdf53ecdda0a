# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Serve a Hub that keeps its files in Xet: hf_xet's own store behind a small server for a client's requests."""

from __future__ import annotations

import contextlib
import dataclasses
import http.server
import itertools
import json
import re
import threading
import time
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.transfer.xet_line import native_module

if typing.TYPE_CHECKING:
    import pathlib

_PIECE = 1 << 14
_HEADER = 8  # of a chunk: version, packed size (3 bytes), scheme, size (3 bytes)


@dataclasses.dataclass(frozen=True)
class Chunk:
    """A chunk in a block of the store: its offset, its packed length, and the length of its content."""

    begin: int
    packed: int
    size: int


@dataclasses.dataclass
class Faults:
    """The faults of a store; ``rate`` is in bytes per second for each connection, ``stall_after`` in bytes of all
    connections.
    """

    stall_after: int | None = None
    silent_tokens: bool = False
    token_status: int = 200
    rate: int | None = None
    flip: bool = False


class XetHub:
    """A Hub with one file at ``url``, whose answers point to the store below ``root``."""

    def __init__(self, root: pathlib.Path, content: bytes, over_http: bool = True) -> None:
        self.faults = Faults()
        self.sent = 0
        self.counting = threading.Lock()
        self.authorization: list[tuple[str, str]] = []  # of each request: its path and Authorization header
        self.route = ""  # where tokens come from, if not from here
        self.kept_in_xet = True
        self.content = content
        store = f"local://{root}"
        self.key = _upload(store, content)
        (place,) = [path for path in root.rglob("xorbs/default.*") if path.suffix != ".tagset"]
        self.block = place.read_bytes()
        self.block_name = place.name.partition(".")[2]
        self.chunks = list(_chunks(self.block))
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self._server.hub = self
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"
        self.cas = self.endpoint if over_http else store
        self.url = f"{self.endpoint}/owner/model/resolve/{'0' * 40}/a-Q8_0.gguf"
        self.closed = threading.Event()

    def __enter__(self) -> typing.Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.closed.set()
        self._server.shutdown()
        self._server.server_close()


def _upload(store: str, content: bytes) -> str:
    session = native_module().XetSession()
    commit = session.new_upload_commit(endpoint=store)
    commit.start_upload_bytes(content)
    (upload,) = commit.wait_to_finish().uploads.values()
    return str(upload.xet_info.hash)


def _chunks(block: bytes) -> typing.Iterator[Chunk]:
    begin = 0
    while begin + _HEADER <= len(block) and block[begin] == 0:
        packed = int.from_bytes(block[begin + 1 : begin + 4], "little") + _HEADER
        yield Chunk(begin, packed, int.from_bytes(block[begin + 5 : begin + 8], "little"))
        begin += packed


class _Server(http.server.ThreadingHTTPServer):
    hub: XetHub


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def hub(self) -> XetHub:
        return typing.cast("_Server", self.server).hub

    def log_message(self, *_args: typing.Any, **_named: typing.Any) -> None:
        """Print nothing."""

    def do_HEAD(self) -> None:
        hub = self.hub
        headers = {"X-Repo-Commit": "0" * 40, "ETag": '"0"', "Content-Length": str(len(hub.content))}
        if hub.kept_in_xet:
            headers |= {"X-Xet-Hash": hub.key, "X-Xet-Refresh-Route": hub.route or f"{hub.endpoint}/token"}
        self._answer(200, headers)

    def do_GET(self) -> None:
        self.hub.authorization.append(
            (self.path.rpartition("/")[0] or self.path, self.headers.get("Authorization", ""))
        )
        with contextlib.suppress(ConnectionError):
            if self.path == "/token":
                self._token()
            elif self.path == f"/v1/reconstructions/{self.hub.key}":
                self._reconstruction()
            elif self.path == "/block/0":
                self._block()
            elif "/resolve/" in self.path:
                self._plain()
            else:
                self._answer(404, {"Content-Length": "0"})

    def do_POST(self) -> None:
        self.hub.authorization.append((self.path, self.headers.get("Authorization", "")))
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self._answer(200, {"Content-Length": "0"})

    def _answer(self, status: int, headers: typing.Mapping[str, str], body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _json(self, value: typing.Any, status: int = 200) -> None:
        body = json.dumps(value).encode()
        self._answer(status, {"Content-Type": "application/json", "Content-Length": str(len(body))}, body)

    def _token(self) -> None:
        if self.hub.faults.silent_tokens:
            self.hub.closed.wait()
        told = {
            "accessToken": "of-the-store",
            "exp": int(time.time()) + 3600,
            "casUrl": self.hub.cas,
            "echo": self.headers.get("Authorization"),
        }
        self._json(told, self.hub.faults.token_status)

    def _range(self) -> tuple[int, int]:
        """Return the requested bytes as first and one past the last."""
        match = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers["Range"])
        return (int(match[1]), int(match[2]) + 1) if match else (0, len(self.hub.content))

    def _reconstruction(self) -> None:
        """Send the chunks that hold the requested range, and their offsets in the block."""
        begin, end = self._range()
        starts = list(itertools.accumulate((chunk.size for chunk in self.hub.chunks), initial=0))
        numbers = [
            number
            for number, chunk in enumerate(self.hub.chunks)
            if starts[number] < end and starts[number] + chunk.size > begin
        ]
        first, last = numbers[0], numbers[-1]
        chunks = {"start": first, "end": last + 1}
        stored = {
            "start": self.hub.chunks[first].begin,
            "end": self.hub.chunks[last].begin + self.hub.chunks[last].packed - 1,
        }
        term = {"hash": self.hub.block_name, "unpacked_length": starts[last + 1] - starts[first], "range": chunks}
        place = {"range": chunks, "url": f"{self.hub.endpoint}/block/0", "url_range": stored}
        self._json(
            {
                "offset_into_first_range": begin - starts[first],
                "terms": [term],
                "fetch_info": {self.hub.block_name: [place]},
            }
        )

    def _block(self) -> None:
        begin, end = self._range()
        body = self.hub.block[begin:end]
        if self.hub.faults.flip:
            body = body[:100] + bytes([body[100] ^ 1]) + body[101:]
        self._send_part(body, begin, len(self.hub.block))

    def _plain(self) -> None:
        begin, end = self._range()
        self._send_part(self.hub.content[begin:end], begin, len(self.hub.content))

    def _send_part(self, body: bytes, begin: int, whole: int) -> None:
        self._answer(
            206, {"Content-Length": str(len(body)), "Content-Range": f"bytes {begin}-{begin + len(body) - 1}/{whole}"}
        )
        for position in range(0, len(body), _PIECE):
            stall_after = self.hub.faults.stall_after
            if stall_after is not None and self.hub.sent >= stall_after:
                self.hub.closed.wait()
            self.wfile.write(body[position : position + _PIECE])
            with self.hub.counting:
                self.hub.sent += len(body[position : position + _PIECE])
            if self.hub.faults.rate:
                time.sleep(_PIECE / self.hub.faults.rate)
