# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""``python benchmarks/file_server.py FOLDER SUMS`` serves the folder as repositories ``bench/<subfolder>`` of a Hub.

The kernel copies the bytes (sendfile), so that the client's cost is measured. ``SUMS`` is a JSON file with the sha256
of each file. The server prints its address and runs until it is ended.
"""

from __future__ import annotations

import http.server
import json
import os
import pathlib
import re
import sys
import typing
import urllib.parse

COMMIT = "0" * 40


class Handler(http.server.BaseHTTPRequestHandler):
    """The handler of requests by hf_hub_download and the module, and of files in plain ranges."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    folder = pathlib.Path()
    sums: typing.ClassVar[dict[str, str]] = {}

    def log_message(self, *_args: object) -> None:
        """Print nothing."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        parts = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path).strip("/").split("/")
        if parts[:3] == ["api", "models", "bench"]:
            self.describe(parts[3], parts[4:])
        elif (
            len(parts) == 5 and parts[0] == "bench" and parts[2] == "resolve" and f"{parts[1]}/{parts[4]}" in self.sums
        ):
            self.send(f"{parts[1]}/{parts[4]}")
        else:
            self.tell(404, b"")

    def describe(self, repo: str, rest: list[str]) -> None:
        names = sorted(name for name in self.sums if name.startswith(f"{repo}/"))
        listing = [self.entry(name) for name in names]
        info = {"id": f"bench/{repo}", "sha": COMMIT, "siblings": [{"rfilename": entry["path"]} for entry in listing]}
        self.tell(
            200, json.dumps(listing if rest[:1] == ["tree"] else info).encode(), {"Content-Type": "application/json"}
        )

    def entry(self, name: str) -> dict[str, typing.Any]:
        size = (self.folder / name).stat().st_size
        lfs = {"oid": self.sums[name], "size": size, "pointerSize": 134}
        return {"type": "file", "path": name.partition("/")[2], "size": size, "oid": "0" * 40, "lfs": lfs}

    def tell(self, status: int, body: bytes, headers: typing.Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def send(self, name: str) -> None:
        descriptor = os.open(self.folder / name, os.O_RDONLY)
        try:
            size = os.fstat(descriptor).st_size
            match = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
            begin = int(match[1]) if match else 0
            end = min(int(match[2]) + 1 if match and match[2] else size, size)
            self.send_response(206 if match else 200)
            self.send_header("Content-Length", str(end - begin))
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("X-Linked-Size", str(size))
            for header in ("ETag", "X-Linked-Etag"):
                self.send_header(header, f'"{self.sums[name]}"')
            if match:
                self.send_header("Content-Range", f"bytes {begin}-{end - 1}/{size}")
            self.end_headers()
            while self.command != "HEAD" and begin < end:
                begin += os.sendfile(self.connection.fileno(), descriptor, begin, end - begin)
        except ConnectionError:
            self.close_connection = True
        finally:
            os.close(descriptor)


def main() -> int:
    Handler.folder = pathlib.Path(sys.argv[1])
    Handler.sums = json.loads(pathlib.Path(sys.argv[2]).read_text(encoding="utf-8"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        print(f"http://127.0.0.1:{server.server_address[1]}", flush=True)
        server.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
