# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""A web server with a folder of two packed releases."""

from __future__ import annotations

import contextlib
import functools
import http.server
import threading
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.host import files
from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import run
from ansible_collections.llama_fleet.core.plugins.module_utils.progress import Progress
from ansible_collections.llama_fleet.core.plugins.module_utils.release import cache as release_cache
from ansible_collections.llama_fleet.core.plugins.module_utils.release import pack as release_pack
from ansible_collections.llama_fleet.core.plugins.module_utils.untrusted import Plain
from ansible_collections.llama_fleet.core.tests.unit.fakes.packed import publish

if typing.TYPE_CHECKING:
    import pathlib

OLD, NEW = "0a" * 32, "0b" * 32
NAME = f"b77-{OLD[:12]}"


class Handler(http.server.SimpleHTTPRequestHandler):
    """A plain web server; ``asked`` are the paths of its requests, below /broken it breaks."""

    asked: typing.ClassVar[list[str]] = []

    def log_message(self, *_arguments: object) -> None:
        pass

    def do_GET(self) -> None:
        self.asked.append(self.path)
        if self.path.startswith("/broken"):
            self.send_error(500)
        elif self.path.startswith("/cut"):
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b'{"format"')
        elif self.path.startswith("/nonsense"):
            self.wfile.write(b"nonsense\r\n\r\n")
        else:
            super().do_GET()


class Site(typing.NamedTuple):
    """A folder of two packed releases, the first of them signed, and its URL."""

    folder: pathlib.Path
    url: str
    builder: str
    other: str

    def location(self, kind: str) -> str:
        return self.url if kind == "url" else str(self.folder)


@contextlib.contextmanager
def served(root: pathlib.Path) -> typing.Iterator[str]:
    """Serve ``root`` and yield its URL."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(root))) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def fill(folder: pathlib.Path, key: pathlib.Path) -> None:
    """Pack two releases into ``folder``; the first is signed and the older one."""
    for fingerprint, compiler, signing in ((OLD, "g++ 12", key), (NEW, "g++ 14", None)):
        release = publish(folder.with_name("root"), b"", fingerprint, compiler=compiler)
        release_pack.pack(release, folder, signing, Progress(), run)
    index = files.read_json(folder / "index.json", Plain()) or {}
    index["releases"][NAME]["packed"] -= 1000
    files.write_json(folder / "index.json", index)


def find(
    *locations: str, parts: typing.Mapping[str, typing.Any] | None = None, fingerprint: str = OLD
) -> release_cache.Cached | None:
    """Find a release, and assert that there is no warning."""
    warnings: list[str] = []
    found = release_cache.find(locations, parts or {}, fingerprint, warnings)
    assert warnings == []
    return found
