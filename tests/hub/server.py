# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The Hub's protocol over two real HTTP servers: one answers, the other, another origin, holds the bytes."""

from __future__ import annotations

import contextlib
import dataclasses
import http.server
import json
import pathlib
import threading
import time
import typing
import urllib.parse

from tests.hub.index import Index
from tests.hub.repos import Access, RepoFile, Repos

_CHUNK = 1 << 16
_HTML = b"<!DOCTYPE html><html><body>Please log in.</body></html>"


@dataclasses.dataclass(frozen=True)
class Logged:
    """One request and what became of it."""

    origin: str  # "front" or "storage"
    method: str
    path: str
    status: int
    sent: int
    first: int  # where the range that was asked for begins
    authorized: bool


@dataclasses.dataclass
class Fault:
    """What goes wrong with the bytes of a file. ``rate`` is in bytes a second."""

    flip_at: int | None = None
    html: bool = False
    rate: int | None = None
    cut_at: int | None = None
    cuts: int = 1
    ranges: bool = True


class Hub:
    """Serves ``root`` until it is closed. ``faults`` are keyed by the name of a file."""

    def __init__(self, root: pathlib.Path, host: str = "127.0.0.1", port: int = 0, storage_port: int = 0) -> None:
        self.root = root
        self.repos = Repos(root)
        self.index = Index(root / "simple")
        self.faults: dict[str, Fault] = {}
        self.log: list[Logged] = []
        self.sent = 0  # bytes of files, by both origins, those of running answers too
        self._lock = threading.Lock()
        self._front = _Server((host, port), _Front, self)
        self._storage = _Server((host, storage_port), _Storage, self)
        self.host = host
        self.port = int(self._front.server_address[1])
        self.storage_port = int(self._storage.server_address[1])
        self._threads = [threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True) for server in (self._front, self._storage)]

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def count(self, size: int) -> None:
        with self._lock:
            self.sent += size

    def __enter__(self) -> typing.Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        for server in (self._front, self._storage):
            server.shutdown()
            server.server_close()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], handler: type[_Handler], hub: Hub) -> None:
        super().__init__(address, handler)
        self.hub = hub


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    origin = ""

    @property
    def hub(self) -> Hub:
        return typing.cast("_Server", self.server).hub

    def do_GET(self) -> None:
        self._sent = 0
        self._status = 0
        with contextlib.suppress(ConnectionError):
            self.handle_path(urllib.parse.unquote(urllib.parse.urlsplit(self.path).path))
        authorized = "Authorization" in self.headers
        self.hub.log.append(Logged(self.origin, self.command, self.path, self._status, self._sent, self._range()[0], authorized))

    def do_HEAD(self) -> None:
        self.do_GET()

    def handle_path(self, path: str) -> None:
        raise NotImplementedError

    def log_message(self, *_args: typing.Any, **_named: typing.Any) -> None:
        """Nothing on the terminal: the log of the Hub has it."""

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

    def refuse(self, status: int, message: str, code: str = "") -> None:
        headers = {"Content-Type": "application/json", "X-Error-Message": message, **({"X-Error-Code": code} if code else {})}
        self.answer(status, json.dumps({"error": message}).encode(), headers)

    def _range(self) -> tuple[int, int | None]:
        """First and last byte asked for; the end is open where it is None."""
        given = self.headers.get("Range", "").removeprefix("bytes=")
        first, _dash, last = given.partition("-")
        return int(first or 0), int(last) if last else None

    def answer_file(self, place: pathlib.Path, name: str, headers: typing.Mapping[str, str] | None = None) -> None:
        """The bytes of a file, or a range of them, with the fault that is set for its name."""
        fault = self.hub.faults.get(name, Fault())
        if fault.html:
            self.answer(200, _HTML, {"Content-Type": "text/html"})
            return
        size = place.stat().st_size
        first, last = self._range() if fault.ranges else (0, None)
        last = size - 1 if last is None else min(last, size - 1)
        if first >= size > 0:
            self.answer(416, headers={"Content-Range": f"bytes */{size}"})
            return
        ranged = "Range" in self.headers and fault.ranges
        self._status = 206 if ranged else 200
        self.send_response(self._status)
        told = {"Content-Length": str(last - first + 1), "Content-Type": "application/octet-stream", **(headers or {})}
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
                chunk = bytearray(file.read(min(_CHUNK, end - position)))
                if fault.flip_at is not None and position <= fault.flip_at < position + len(chunk):
                    chunk[fault.flip_at - position] ^= 1
                if fault.cut_at is not None and fault.cuts > 0 and position + len(chunk) > fault.cut_at >= position:
                    fault.cuts -= 1
                    self.close_connection = True
                    return
                self.wfile.write(chunk)
                self._sent += len(chunk)
                self.hub.count(len(chunk))
                position += len(chunk)
                if fault.rate:
                    time.sleep(len(chunk) / fault.rate)


class _Front(_Handler):
    """What answers at the Hub's own address."""

    origin = "front"

    def handle_path(self, path: str) -> None:
        parts = path.strip("/").split("/")
        if parts[0] == "files":
            self._plain(self.hub.root / "files", parts[1:])
        elif parts[0] == "packages":
            self._plain(self.hub.root / "simple", parts[1:])
        elif parts[0] == "simple":
            self._index(parts[1] if len(parts) > 1 else "")
        elif path == "/api/whoami-v2":
            self._whoami()
        elif parts[:2] == ["api", "models"] and len(parts) >= 4:
            self._api("/".join(parts[2:4]), parts[4:])
        elif len(parts) >= 5 and parts[2] == "resolve":
            self._resolve("/".join(parts[:2]), parts[3], "/".join(parts[4:]))
        else:
            self.refuse(404, "Not found")

    def _plain(self, folder: pathlib.Path, parts: list[str]) -> None:
        place = folder.joinpath(*parts)
        if ".." in parts or not place.is_file():
            self.refuse(404, "Not found")
        else:
            self.answer_file(place, place.name)

    def _index(self, project: str) -> None:
        page = self.hub.index.page(project, self.headers.get("Accept", ""))
        if page is None:
            self.refuse(404, "Not found")
        else:
            self.answer(200, page[1].encode(), {"Content-Type": page[0]})

    def _account(self) -> str | None:
        """The account's name, empty for an anonymous request; None, and refused, for a token of nobody."""
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        account = self.hub.repos.account(token) if token else ""
        if token and not account:
            self.refuse(401, "Invalid credentials in Authorization header")
            return None
        return account

    def _whoami(self) -> None:
        account = self._account()
        if account:
            self.answer_json({"type": "user", "name": account})
        elif account is not None:
            self.refuse(401, "Invalid username or password.")

    def _access(self, repo: str, revision: str) -> Access | None:
        """What this request may do; None, and refused, where it may not even know."""
        account = self._account()
        if account is None:
            return None
        repos = self.hub.repos
        access = Access.NONE if repos.find(repo) is None else repos.access(repo, account)
        if access is Access.NONE:
            self.refuse(404 if account else 401, "Repository not found", "RepoNotFound")
            return None
        if not repos.has_revision(repo, revision):
            self.refuse(404, f"Invalid rev id: {revision}", "RevisionNotFound")
            return None
        return access

    def _api(self, repo: str, rest: list[str]) -> None:
        revision = rest[1] if len(rest) > 1 and rest[0] in ("revision", "tree") else "main"
        if self._access(repo, revision) is None:
            return
        files = self.hub.repos.files(repo)
        if rest and rest[0] == "tree":
            self.answer_json(_tree(files))
            return
        self.answer_json(
            {
                "_id": "0",
                "id": repo,
                "modelId": repo,
                "sha": self.hub.repos.commit(repo),
                "private": False,
                "gated": "auto" if self.hub.repos.is_gated(repo) else False,
                "tags": [],
                "downloads": 0,
                "likes": 0,
                "siblings": [{"rfilename": file.path} for file in files],
            }
        )

    def _resolve(self, repo: str, revision: str, path: str) -> None:
        access = self._access(repo, revision)
        if access is None:
            return
        file = next((file for file in self.hub.repos.files(repo) if file.path == path), None)
        if access is Access.LISTING:
            anonymous = "Authorization" not in self.headers
            self.refuse(401 if anonymous else 403, f"Access to model {repo} is restricted.", "GatedRepo")
        elif file is None:
            self.refuse(404, "Entry not found", "EntryNotFound")
        else:
            self._hand_out(repo, file)

    def _hand_out(self, repo: str, file: RepoFile) -> None:
        commit = {"X-Repo-Commit": self.hub.repos.commit(repo)}
        if not file.lfs:
            self.answer_file(file.place, file.path.rpartition("/")[2], {**commit, "ETag": f'"{file.oid}"'})
            return
        # As the client sees this host, so that it works through every address of it.
        host = self.headers.get("Host", self.hub.host).rpartition(":")[0] or self.hub.host
        location = f"http://{host}:{self.hub.storage_port}/{file.sha256}?name={urllib.parse.quote(file.path.rpartition('/')[2])}"
        linked = {"X-Linked-Etag": f'"{file.sha256}"', "X-Linked-Size": str(file.size)}
        self.answer(302, headers={**commit, **linked, "Location": location})


def _tree(files: list[RepoFile]) -> list[dict[str, typing.Any]]:
    folders = {str(parent) for file in files for parent in pathlib.PurePosixPath(file.path).parents} - {"."}
    entries: list[dict[str, typing.Any]] = [{"type": "directory", "oid": "0" * 40, "size": 0, "path": folder} for folder in sorted(folders)]
    for file in files:
        entry: dict[str, typing.Any] = {"type": "file", "oid": file.oid, "size": file.size, "path": file.path}
        if file.lfs:
            entry["lfs"] = {"oid": file.sha256, "size": file.size, "pointerSize": 134}
        entries.append(entry)
    return entries


class _Storage(_Handler):
    """The other origin: it knows contents by their checksum, and no accounts."""

    origin = "storage"

    def handle_path(self, path: str) -> None:
        if "Authorization" in self.headers:
            self.answer(400, b"<Error><Code>InvalidArgument</Code><Message>Only one auth mechanism allowed</Message></Error>")
            return
        place = self.hub.repos.by_sum(path.strip("/"))
        names = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query).get("name", [""])
        if place is None:
            self.answer(404)
        else:
            self.answer_file(place, names[0])
