# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Stand in for GitHub's release API and its downloads, for the few requests that llama-fleet makes.

The layout is that of ggml-org/llama.cpp since August 2026: nightly releases ``b1234`` with archives for Ubuntu, and
stable releases ``v0.8.0`` whose asset ``nightly-tag.txt`` names one of them. It is no copy of GitHub: it has one
repository, no login and one page of releases.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import http.server
import json
import threading
import typing

SHA = "application/vnd.github.sha"
REPOSITORY = "/repos/ggml-org/llama.cpp"


@dataclasses.dataclass
class ReleaseApi:
    """A running stand-in. ``url`` is its address; ``asked`` lists the requested paths."""

    url: str = ""
    asked: list[str] = dataclasses.field(default_factory=list)
    releases: dict[str, dict[str, bytes]] = dataclasses.field(default_factory=dict)
    commits: dict[str, str] = dataclasses.field(default_factory=dict)
    drafts: set[str] = dataclasses.field(default_factory=set)
    # Replaced answers by path: a status, headers and a body.
    instead: dict[str, tuple[int, dict[str, str], bytes]] = dataclasses.field(default_factory=dict)
    without_digest: set[str] = dataclasses.field(default_factory=set)

    @property
    def api(self) -> str:
        return f"{self.url}{REPOSITORY}"

    @property
    def downloads(self) -> str:
        return f"{self.url}/ggml-org/llama.cpp/releases/download"

    def nightly(self, tag: str, commit: str = "", **archives: bytes) -> None:
        """Publish a nightly build with an archive of each kind (``x64``, ``cuda_12.8_x64``)."""
        self.commits[tag] = commit or hashlib.sha1(tag.encode()).hexdigest()
        names = {f"llama-{tag}-bin-ubuntu-{kind}.tar.gz": content for kind, content in archives.items()}
        self.releases[tag] = {**names, f"llama-{tag}-bin-macos-arm64.tar.gz": b"of no use here"}

    def stable(self, version: str, tag: str) -> None:
        """Publish a stable version on the commit of a nightly build."""
        self.releases[version] = {"nightly-tag.txt": f"{tag}\n".encode()}

    def describe(self, tag: str) -> dict[str, typing.Any]:
        """Return the release ``tag`` as the API does, with some of the many other fields."""
        assets = [
            {
                "url": f"{self.api}/releases/assets/{number}",
                "id": number,
                "name": name,
                "content_type": "application/gzip",
                "state": "uploaded",
                "size": len(content),
                "digest": None if name in self.without_digest else f"sha256:{hashlib.sha256(content).hexdigest()}",
                "browser_download_url": f"{self.downloads}/{tag}/{name}",
            }
            for number, (name, content) in enumerate(self.releases[tag].items())
        ]
        return {
            "id": 1,
            "tag_name": tag,
            "target_commitish": "master",
            "name": tag,
            "draft": tag in self.drafts,
            "prerelease": tag.startswith("b"),
            "assets": assets,
            "body": "changes",
        }

    def answer(self, path: str, accept: str) -> tuple[int, dict[str, str], bytes]:
        """Return the status, headers and body for a path."""
        self.asked.append(path)
        if path in self.instead:
            return self.instead[path]
        below = path.removeprefix(f"{REPOSITORY}/")
        kind, _slash, rest = below.partition("/")
        if below.startswith("releases?"):
            described = [self.describe(tag) for tag in self.releases]
            return 200, {}, json.dumps(described).encode()
        if kind == "commits" and rest in self.commits and accept == SHA:
            return 200, {}, self.commits[rest].encode()
        stable = [tag for tag in self.releases if tag.startswith("v")]
        tag = (stable[-1] if stable else "") if rest == "latest" else rest.removeprefix("tags/")
        if kind == "releases" and tag in self.releases:
            return 200, {}, json.dumps(self.describe(tag)).encode()
        *_folders, tag, name = path.rsplit("/", 2)
        if path.startswith("/ggml-org/llama.cpp/releases/download/") and name in self.releases.get(tag, {}):
            return 200, {}, self.releases[tag][name]
        return 404, {}, b'{"message": "Not Found"}'


@contextlib.contextmanager
def release_api() -> typing.Iterator[ReleaseApi]:
    """Serve an empty stand-in on a free port of the loopback."""
    fake = ReleaseApi()

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_arguments: object) -> None:
            pass

        def do_GET(self) -> None:
            status, headers, body = fake.answer(self.path, self.headers.get("Accept", ""))
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        fake.url = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield fake
        finally:
            server.shutdown()
