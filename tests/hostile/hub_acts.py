# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The answers of a hostile Hub to a request, for the tables of its behaviours."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import socket
import struct
import typing

from tests.hub.server import _tree

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.tests.unit.raw_server import RawServer
    from tests.hub.handler import Handler

# The questions of one run, in their order: the commit, the listing, what is stated of a file, the file, and its bytes
# at the storage.
PHASES = {
    "commit": re.compile(r"GET front /api/models/[^/]+/[^/]+/revision/.*"),
    "tree": re.compile(r"GET front /api/models/[^/]+/[^/]+/tree/.*"),
    "stated": re.compile(r"HEAD front /[^/]+/[^/]+/resolve/.*"),
    "file": re.compile(r"GET front /[^/]+/[^/]+/resolve/.*"),
    "bytes": re.compile(r"GET storage /[0-9a-f]{64}"),
    # Of a package index: a project's page, and a file of it.
    "page": re.compile(r"GET front /simple/[^/]+/"),
    "package": re.compile(r"GET front /packages/[^/]+"),
}
Act = typing.Callable[["Handler"], None]
Headers = typing.Sequence[tuple[str, str]]


@dataclasses.dataclass
class Hostile:
    """Does ``act`` with the requests of a phase, ``times`` of them at most, and leaves the others to the Hub."""

    phase: str
    act: Act
    times: int = 1 << 30
    done: int = 0
    errors: list[Exception] = dataclasses.field(default_factory=list)

    def __call__(self, handler: Handler, path: str) -> bool:
        if self.done >= self.times or not PHASES[self.phase].fullmatch(f"{handler.command} {handler.origin} {path}"):
            return False
        self.done += 1
        handler.close_connection = True
        try:
            self.act(handler)
        except OSError:  # the client has broken off
            pass
        except Exception as error:
            self.errors.append(error)
            raise
        return True

    def require_played(self) -> None:
        """Fail where the behaviour was not asked for, or was another than its row says: such a row proves nothing."""
        assert not self.errors, self.errors
        assert self.done or not self.times, f"no request of the phase {self.phase}"


def raw(handler: Handler, status: int, body: bytes = b"", headers: Headers = (), length: int | None = None) -> None:
    """Send an answer that no library would send; no length is sent for a negative ``length``."""
    told = len(body) if length is None else length
    lines = [
        f"HTTP/1.1 {status} x",
        *([f"Content-Length: {told}"] if told >= 0 else []),
        *(f"{name}: {value}" for name, value in headers),
    ]
    handler._status = status
    handler.connection.sendall(
        "\r\n".join([*lines, "Connection: close", "", ""]).encode("latin-1")
        + (b"" if handler.command == "HEAD" else body)
    )


def says(status: int, body: bytes = b"", headers: Headers = (), length: int | None = None) -> Act:
    return lambda handler: raw(handler, status, body, headers, length)


def says_json(value: object, headers: Headers = ()) -> Act:
    return says(200, json.dumps(value).encode(), [("Content-Type", "application/json"), *headers])


def listing(edit: typing.Callable[[list[dict[str, typing.Any]]], object], headers: Headers = ()) -> Act:
    """Answer with the true listing, once ``edit`` has changed it or returned another."""

    def act(handler: Handler) -> None:
        entries = _tree(handler.hub.repos.files("owner/gated"))
        changed = edit(entries)
        says_json(
            entries if changed is None else changed, [(name, _filled(handler, value)) for name, value in headers]
        )(handler)

    return act


def entry(**fields: object) -> Act:
    """Answer with the listing, with other fields in the entry of the chosen file."""

    def edit(entries: list[dict[str, typing.Any]]) -> None:
        for each in entries:
            if each["path"] == "SmolLM-Q8_0.gguf":
                each.update(fields)

    return listing(edit)


def lfs(**fields: object) -> Act:
    def edit(entries: list[dict[str, typing.Any]]) -> None:
        for each in entries:
            if each["path"] == "SmolLM-Q8_0.gguf":
                each["lfs"].update(fields)

    return listing(edit)


def without(*names: str) -> Act:
    def edit(entries: list[dict[str, typing.Any]]) -> None:
        for each in entries:
            if each["path"] == "SmolLM-Q8_0.gguf":
                for name in names:
                    del each[name]

    return listing(edit)


def to(target: str, status: int = 302, headers: Headers = ()) -> Act:
    """Redirect; ``{front}`` and ``{storage}`` are the Hub's own two origins, ``{stranger}`` a third."""
    return lambda handler: raw(handler, status, headers=[("Location", _filled(handler, target)), *headers])


def next_page(target: str, entries: typing.Sequence[object] = ()) -> Act:
    return lambda handler: says_json(list(entries), [("Link", f'<{_filled(handler, target)}>; rel="next"')])(handler)


def _filled(handler: Handler, target: str) -> str:
    stranger = typing.cast("RawServer", getattr(handler.hub, "stranger", None))
    storage = f"http://127.0.0.1:{handler.hub.storage_port}"
    return (
        target.replace("{front}", handler.hub.url)
        .replace("{storage}", storage)
        .replace("{stranger}", stranger.url if stranger else "")
    )


def silent(handler: Handler) -> None:
    with contextlib.suppress(OSError):
        handler.connection.settimeout(20)
        while handler.connection.recv(1 << 16):
            pass


def reset(handler: Handler) -> None:
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()


def dribbles(head: bytes, then: bytes, pause: float = 0.05) -> Act:
    """``head`` at once, and of ``then`` a byte at a time."""

    def act(handler: Handler) -> None:
        handler.connection.sendall(head)
        for index in range(len(then)):
            handler.connection.sendall(then[index : index + 1])
            if handler.hub.closed.wait(pause):
                return

    return act


def pours(head: bytes, block: bytes, count: int = 20_000) -> Act:
    """``head``, and ``block`` again and again, as long as it is taken."""

    def act(handler: Handler) -> None:
        handler.connection.sendall(head)
        for _number in range(count):
            handler.connection.sendall(block)

    return act


@dataclasses.dataclass(frozen=True)
class Part:
    """The range that was asked for, and the file it is of."""

    first: int
    last: int
    content: bytes

    @property
    def size(self) -> int:
        return len(self.content)

    def told(self, first: int | None = None, last: int | None = None, size: object = None) -> tuple[str, str]:
        begin, end = self.first if first is None else first, self.last if last is None else last
        return ("Content-Range", f"bytes {begin}-{end}/{self.size if size is None else size}")


def ranges(act: typing.Callable[[Handler, Part], None]) -> Act:
    """Let the storage answer a requested range with ``act``."""

    def whole(handler: Handler) -> None:
        place = handler.hub.repos.by_sum(handler.path.strip("/").partition("?")[0])
        assert place is not None
        content = place.read_bytes()
        first, last = handler._range()
        act(handler, Part(first, len(content) - 1 if last is None else min(last, len(content) - 1), content))

    return whole
