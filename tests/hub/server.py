# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Serve the Hub's protocol from two real HTTP servers: one answers, the other, another origin, holds the bytes."""

from __future__ import annotations

import contextlib
import pathlib
import threading
import typing
import urllib.parse

from tests.hub.faults import Fault, Signatures
from tests.hub.handler import Handler, Logged, Server
from tests.hub.index import Index
from tests.hub.repos import Access, RepoFile, Repos

__all__ = ["Fault", "Hub", "Logged"]


class Hub:
    """A Hub that serves ``root`` until it is closed.

    ``faults`` are keyed by file name; ``api`` applies to all API requests. ``page`` is the number of entries of a
    listing page, all for 0.
    """

    def __init__(self, root: pathlib.Path, host: str = "127.0.0.1", port: int = 0, storage_port: int = 0) -> None:
        self.root = root
        self.repos = Repos(root)
        self.index = Index(root / "simple")
        self.faults: dict[str, Fault] = {}
        self.page = 0
        self.log: list[Logged] = []
        self.sent = 0  # bytes of files from both origins, including unfinished answers
        self.connections = 0  # connections made so far, to both
        self.busiest: dict[str, int] = {}  # the most parallel answers for each file name
        self.signatures = Signatures()
        # Answers a request instead of the Hub; gets the handler and the path, and returns whether it answered.
        self.hostile: typing.Callable[[Handler, str], bool] = lambda _handler, _path: False
        self.closed = threading.Event()
        self._busy: dict[str, int] = {}
        self._lock = threading.Lock()
        self._running = 0
        self._idle = threading.Condition(self._lock)
        self._front = Server((host, port), _Front, self)
        self._storage = Server((host, storage_port), _Storage, self)
        self.host = host
        self.port = int(self._front.server_address[1])
        self.storage_port = int(self._storage.server_address[1])
        self._threads = [
            threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
            for server in (self._front, self._storage)
        ]

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def count(self, sent: int = 0, connections: int = 0) -> None:
        with self._lock:
            self.sent += sent
            self.connections += connections

    @contextlib.contextmanager
    def serving(self) -> typing.Iterator[None]:
        """Count a request as running until it is in the log."""
        with self._lock:
            self._running += 1
        try:
            yield
        finally:
            with self._idle:
                self._running -= 1
                self._idle.notify_all()

    def settle(self) -> list[Logged]:
        """Return the log once it is complete, because a client can see the end of an answer before the log does."""
        with self._idle:
            assert self._idle.wait_for(lambda: self._running == 0, timeout=30)
            return list(self.log)

    @contextlib.contextmanager
    def answering(self, name: str) -> typing.Iterator[int]:
        """Count the file ``name`` as being sent; yield how many other answers send it."""
        with self._lock:
            others = self._busy.get(name, 0)
            self._busy[name] = others + 1
            self.busiest[name] = max(self.busiest.get(name, 0), others + 1)
        try:
            yield others
        finally:
            with self._lock:
                self._busy[name] -= 1

    def __enter__(self) -> typing.Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.closed.set()
        for server in (self._front, self._storage):
            server.shutdown()
            server.server_close()


class _Front(Handler):
    """The handler of the Hub's own address."""

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
        """Return the account name, empty for an anonymous request; refuse an unknown token and return None."""
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
        """Return what this request may do; refuse it and return None if it may not even see the repository."""
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
        if self.fails("api") or self._access(repo, revision) is None:
            return
        files = self.hub.repos.files(repo)
        if rest and rest[0] == "tree":
            self._page(_tree(files))
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
                "siblings": [_sibling(file, bool(self.query("blobs"))) for file in files],
            }
        )

    def _page(self, entries: list[dict[str, typing.Any]]) -> None:
        """Send one page of a listing, with the address of the next one."""
        begin = int(self.query("cursor") or 0)
        end = begin + self.hub.page if self.hub.page else len(entries)
        parts = urllib.parse.urlsplit(self.path)
        query = urllib.parse.urlencode({**dict(urllib.parse.parse_qsl(parts.query)), "cursor": end})
        link = f"<http://{self.headers.get('Host')}{parts.path}?{query}>"
        self.answer_json(entries[begin:end], {"Link": f'{link}; rel="next"'} if end < len(entries) else {})

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
        name = file.path.rpartition("/")[2]
        if self.fails(name):
            return
        # The host as the client sees it, so that it works through every address of it.
        host = self.headers.get("Host", self.hub.host).rpartition(":")[0] or self.hub.host
        signature = self.hub.signatures.new(self.hub.faults.get(name, Fault()))
        signed = f"&signature={signature}" if signature else ""
        query = f"name={urllib.parse.quote(name)}{signed}"
        location = f"http://{host}:{self.hub.storage_port}/{file.sha256}?{query}"
        linked = {"X-Linked-Etag": f'"{file.sha256}"', "X-Linked-Size": str(file.size)}
        self.answer(302, headers={**commit, **linked, "Location": location})


def _tree(files: list[RepoFile]) -> list[dict[str, typing.Any]]:
    folders = {str(parent) for file in files for parent in pathlib.PurePosixPath(file.path).parents} - {"."}
    entries: list[dict[str, typing.Any]] = [
        {"type": "directory", "oid": "0" * 40, "size": 0, "path": folder} for folder in sorted(folders)
    ]
    for file in files:
        entry: dict[str, typing.Any] = {"type": "file", "oid": file.oid, "size": file.size, "path": file.path}
        if file.lfs:
            entry["lfs"] = {"oid": file.sha256, "size": file.size, "pointerSize": 134}
        entries.append(entry)
    return entries


def _sibling(file: RepoFile, blobs: bool) -> dict[str, typing.Any]:
    """Return a file as the description of a repository lists it, with ``blobs`` its size and sums too."""
    lfs = {"lfs": {"sha256": file.sha256, "size": file.size, "pointerSize": 134}} if file.lfs else {}
    return {"rfilename": file.path, **({"size": file.size, "blobId": file.oid, **lfs} if blobs else {})}


class _Storage(Handler):
    """The handler of the other origin, which knows contents by checksum and no accounts."""

    origin = "storage"

    def handle_path(self, path: str) -> None:
        if "Authorization" in self.headers:
            self.answer(
                400, b"<Error><Code>InvalidArgument</Code><Message>Only one auth mechanism allowed</Message></Error>"
            )
            return
        place = self.hub.repos.by_sum(path.strip("/"))
        signature = self.query("signature")
        if place is None:
            self.answer(404)
        elif signature and not self.hub.signatures.accepts(signature):
            self.answer(403, b"<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>")
        else:
            self.answer_file(place, self.query("name"))
