# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""A file server with a package index, whose answers a test can let break off."""

from __future__ import annotations

import http.server
import json
import typing

CONTENT = bytes(range(256)) * 4096


class Handler(http.server.BaseHTTPRequestHandler):
    requests: typing.ClassVar[list[tuple[str, str | None, str | None]]] = []
    breaks: typing.ClassVar[int] = 0

    def log_message(self, *_arguments: object) -> None:
        pass

    def do_GET(self) -> None:
        cls = type(self)
        cls.requests.append((self.path, self.headers["Range"], self.headers["Authorization"]))
        if self.path == "/index/demo-package/":
            self._answer(200, json.dumps({"files": LISTING}).encode())
        elif self.path == "/html/demo-package/":
            self._answer(200, b"<html></html>")
        elif self.path == "/elsewhere":
            self.send_response(302)
            self.send_header("Location", f"http://localhost:{self.server.server_address[1]}/file")
            self.end_headers()
        elif self.path in ("/file", "/no-ranges"):
            self._file()
        else:
            self._answer(404, b"nothing here")

    def _file(self) -> None:
        asked = self.headers["Range"]
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and self.path == "/file" else 0
        body = CONTENT[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if type(self).breaks > 0:
            type(self).breaks -= 1
            body = body[: len(body) // 2]
        self.wfile.write(body)

    def _answer(self, code: int, body: bytes) -> None:
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


LISTING = [
    {"filename": "demo_package-1.0.0.tar.gz", "url": "../files/a", "hashes": {"sha256": "aa" * 32}, "size": 5},
    {"filename": "demo_package-1.10.0.tar.gz", "url": "../files/d", "hashes": {"sha256": "dd" * 32}, "size": 7},
    {"filename": "demo_package-1.1.0.tar.gz", "url": "../files/b", "hashes": {"sha256": "bb" * 32}, "size": 6},
    {"filename": "demo_package-1.1.0-py3-none-any.whl", "url": "../files/c", "hashes": {"sha256": "cc" * 32}},
]
