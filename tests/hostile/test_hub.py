# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""A Hub that answers as it likes: the right bytes come, or one sentence that names the cause."""

from __future__ import annotations

import contextlib
import dataclasses
import email.utils
import functools
import gzip
import json
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch import ask as http_ask
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch import rules as origins
from ansible_collections.llama_fleet.core.plugins.module_utils.model import hub_transport
from ansible_collections.llama_fleet.core.plugins.module_utils.model.stage import ARGUMENTS
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.transfer import request, segments
from ansible_collections.llama_fleet.core.tests.unit.raw_server import Asked, Peer, RawServer
from tests.hostile.hub_acts import (
    Act,
    Hostile,
    dribbles,
    entry,
    lfs,
    listing,
    next_page,
    pours,
    ranges,
    raw,
    reset,
    says,
    says_json,
    silent,
    to,
    without,
)
from tests.unit.modules.gguf_model.case import SHARDS, TOKEN, Result, call, weights

if typing.TYPE_CHECKING:
    import pathlib

    from tests.hub import Hub

NAME = "SmolLM-Q8_0.gguf"
CONTENT = weights(NAME, 300_000)
RIGHT = ""  # the outcome that the right bytes come
MOST_REQUESTS = 60  # of one run; what is asked without an end has far more
_HTML = b"<!DOCTYPE html><html><body>Please log in.</body></html>"
_JSON_HEAD = b"HTTP/1.1 200 x\r\nContent-Type: application/json\r\n"
_CHUNKED = b"HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\n"
_SHA = "0" * 40
_NUMBER = b'{"id": "x", "sha": 7}'
_PAST = email.utils.formatdate(0, usegmt=True)
# Where this machine is so busy that even a slow server falls behind, that is what is told.
_SLOW = "fewer than|no byte for 1 s"
_SLOW_HEADERS = "incomplete headers|no byte for 1 s"
_NO_ADDRESS = "an address that does not begin with http:// or https://"


@dataclasses.dataclass(frozen=True)
class Row:
    """A behaviour: in which phase, what is done how often, and a word of the sentence that has to come of it, or
    one of several with | between.
    """

    phase: str
    act: Act
    word: str
    times: int = 1 << 30
    quant: str = "Q8_0"
    public: bool = False  # whether the Hub counts as one on a public network


def _forever(status: int) -> str:
    return "too many requests" if status == 429 else f"HTTP status {status}"


_PASSING = (408, 425, 429, 500, 502, 503, 504)
BEHAVIOURS: dict[str, Row] = {
    # What names the revision.
    "a commit that is a path": Row(
        "commit", says_json({"id": "x", "sha": "../../../outside"}), "the commit of 'main' is '../../../outside'"
    ),
    "a commit that is an absolute path": Row(
        "commit", says_json({"id": "x", "sha": "/etc"}), "the commit of 'main' is '/etc'"
    ),
    "a commit that is null": Row("commit", says_json({"id": "x", "sha": None}), "the commit of 'main' is null"),
    "a commit that is a number": Row("commit", says_json({"id": "x", "sha": 7}), "the commit of 'main' is 7"),
    "a commit that is a list": Row("commit", says_json({"id": "x", "sha": [_SHA]}), "the commit of 'main' is a list"),
    "no commit": Row("commit", says_json({"id": "x"}), "the commit of 'main' is null"),
    "a commit of 41 digits": Row("commit", says_json({"id": "x", "sha": "0" * 41}), "the commit of 'main' is '0"),
    "a commit in upper case": Row("commit", says_json({"id": "x", "sha": "A" * 40}), "the commit of 'main' is 'A"),
    "a commit with an escape sequence": Row(
        "commit", says_json({"id": "x", "sha": "\x1b[2J" + "0" * 36}), "the commit of 'main' is '\\x1b[2J0"
    ),
    "a commit with a line's end": Row("commit", says_json({"id": "x", "sha": _SHA + "\n"}), "0\\n', expected"),
    "a list for an object": Row("commit", says_json([]), "that its client cannot read"),
    "null for an object": Row("commit", says_json(None), "that its client cannot read"),
    "a number for an object": Row("commit", says_json(5), "that its client cannot read"),
    "a page for people": Row("commit", says(200, _HTML, [("Content-Type", "text/html")]), "no answer of a Hub"),
    "nothing at all": Row("commit", says(200), "no answer of a Hub"),
    "half of a document": Row("commit", says(200, b'{"sha": "'), "no answer of a Hub"),
    "a hundred thousand brackets": Row("commit", says(200, b"[" * 100_000), "that its client cannot read"),
    "a number of ten thousand digits": Row(
        "commit", says(200, b'{"sha": ' + b"9" * 10_000 + b"}"), "no answer of a Hub"
    ),
    "bytes that are no UTF-8": Row("commit", says(200, b'{"sha": "\xff\xfe"}'), "no answer of a Hub"),
    "packed, which nobody asked for": Row(
        "commit", says(200, gzip.compress(b"{}"), [("Content-Encoding", "gzip")]), "the encoding gzip"
    ),
    # How an answer comes.
    "a body that is longer than said": Row("commit", says(200, b'{"sha": 1}   ', length=5), "JSONDecodeError"),
    "a body that is shorter than said": Row("commit", says(200, b"{}", length=500), "truncated at byte 2 of 500"),
    "a body that is said to be a petabyte": Row(
        "commit", says(200, b"{}", length=1 << 50), "an answer of 1125899906842624 bytes (at most 33554432 accepted)"
    ),
    "a length that is negative": Row(
        "commit", says(200, _NUMBER, [("Content-Length", "-5")], length=-1), "the commit of 'main' is 7"
    ),
    "a length that is no number": Row(
        "commit", says(200, _NUMBER, [("Content-Length", "many")], length=-1), "the commit of 'main' is 7"
    ),
    "two lengths": Row("commit", says(200, _NUMBER, [("Content-Length", "1")]), "the commit of 'main' is 7"),
    "chunks without an end": Row(
        "commit",
        pours(_JSON_HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + b" " * 65536 + b"\r\n"),
        "an answer of more than 33554432 bytes",
    ),
    "a chunk of a size that is none": Row(
        "commit", says(200, b"zz\r\n", [("Transfer-Encoding", "chunked")], length=-1), "a truncated answer"
    ),
    "trailers without an end": Row(
        "commit",
        pours(_JSON_HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X: " + b"x" * 60_000 + b"\r\n"),
        "an answer with more bytes than requested",
    ),
    "a header of a megabyte": Row("commit", says(200, b"{}", [("X-Long", "x" * (1 << 20))]), "LineTooLong"),
    "ten thousand headers": Row("commit", says(200, b"{}", [("X-Many", "x")] * 10_000), "more than 100 headers"),
    "headers without an end": Row("commit", pours(b"HTTP/1.1 200 x\r\n", b"X: x\r\n" * 1000), "more than 100 headers"),
    "interim answers without an end": Row(
        "commit", dribbles(b"", b"HTTP/1.1 100 x\r\n\r\n" * 999, 0.001), _SLOW_HEADERS
    ),
    "no HTTP": Row(
        "commit", lambda handler: handler.connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), "BadStatusLine"
    ),
    "slow headers": Row("commit", dribbles(b"HTTP/1.1 200 x\r\n", b"X-More: 1\r\n" * 99), _SLOW_HEADERS),
    "a slow body": Row("commit", dribbles(_JSON_HEAD + b"Content-Length: 900\r\n\r\n", b" " * 900), _SLOW),
    "a black hole": Row("commit", silent, "no byte for 1 s"),
    "a black hole once": Row("commit", silent, RIGHT, times=1),
    "the connection closed": Row("commit", lambda _handler: None, "RemoteDisconnected"),
    # One moment, or for ever.
    **{f"status {status} once for the commit": Row("commit", says(status), RIGHT, times=1) for status in _PASSING},
    **{f"status {status} once for the listing": Row("tree", says(status), RIGHT, times=1) for status in _PASSING},
    **{f"status {status} once for what is stated": Row("stated", says(status), RIGHT, times=1) for status in _PASSING},
    **{f"status {status} once for the bytes": Row("bytes", says(status), RIGHT, times=1) for status in _PASSING},
    **{
        f"status {status} for ever for the commit": Row("commit", says(status), _forever(status)) for status in _PASSING
    },
    **{
        f"status {status} for ever for the bytes": Row("bytes", says(status), f"HTTP status {status}")
        for status in _PASSING
    },
    **{
        f"a reset once: {phase}": Row(phase, reset, RIGHT, times=1)
        for phase in ("commit", "tree", "stated", "file", "bytes")
    },
    **{
        f"a reset for ever: {phase}": Row(phase, reset, "reset")
        for phase in ("commit", "tree", "stated", "file", "bytes")
    },
    "a wait of a day": Row("commit", says(429, headers=[("Retry-After", "86400")]), "asks to wait 86400 s"),
    "a wait of a day for the bytes": Row(
        "bytes", says(429, headers=[("Retry-After", "86400")]), "asks to wait 86400 s"
    ),
    "a wait of a day for the listing": Row(
        "tree", says(503, headers=[("Retry-After", "86400")]), "asks to wait 86400 s"
    ),
    "a wait that is negative": Row("commit", says(429, headers=[("Retry-After", "-5")]), RIGHT, times=1),
    "a wait that is no number": Row("tree", says(429, headers=[("Retry-After", "soon")]), RIGHT, times=1),
    "a wait until long ago": Row("bytes", says(503, headers=[("Retry-After", _PAST)]), RIGHT, times=1),
    "a limit that is none": Row("tree", says(429, headers=[("RateLimit", f'"api";r=0;t={"9" * 400}')]), RIGHT, times=1),
    # Where it leads.
    "redirects in a circle: the commit": Row(
        "commit", to("{front}/api/models/owner/gated/revision/main"), "TooManyRedirects"
    ),
    "redirects in a circle: the file": Row("file", to("/owner/gated/resolve/main/x"), "more than 10 redirects"),
    **{
        f"a redirect to {scheme}: the {phase}": Row(
            phase, to(f"{scheme}://127.0.0.1:21/x"), "no answer" if phase == "commit" else _NO_ADDRESS
        )
        for scheme in ("gopher", "ftp")
        for phase in ("file", "bytes")
    },
    "a redirect to a file of the host": Row("file", to("file:///etc/hostname"), _NO_ADDRESS),
    "a redirect to nothing": Row("file", to(""), "a redirect without a valid target"),
    "a redirect to what is no address": Row("bytes", to("http://[::1/"), "a redirect without a valid target"),
    "the API redirects to a stranger": Row("commit", to("{stranger}/x"), "to which it leads"),
    "the API redirects to gopher": Row("commit", to("gopher://127.0.0.1:70/x"), _NO_ADDRESS),
    "the file is with a stranger who has another one": Row("file", to("{stranger}/wrong"), "wrong bytes (sha256 "),
    "the file is with a stranger who has it": Row("file", to("{stranger}/right"), RIGHT),
    "the storage leads back to the Hub": Row(
        "bytes", to("{front}/owner/gated/resolve/main/" + NAME), "HTTP status 401"
    ),
    "a public Hub with its bytes at a private address": Row(
        "commit", lambda _handler: None, "private address", times=0, public=True
    ),
    "a public Hub's API redirects to a private address": Row(
        "commit", to("{stranger}/x"), "private address", public=True
    ),
    "a public Hub's next page at a private address": Row(
        "tree", next_page("{stranger}/x"), "private address", public=True
    ),
    "a next page with a stranger": Row(
        "tree", listing(lambda _entries: None, [("Link", '<{stranger}/empty>; rel="next"')]), RIGHT
    ),
    "a next page with a stranger who refuses": Row("tree", next_page("{stranger}/x"), "to which it leads"),
    "a next page by gopher": Row("tree", next_page("gopher://127.0.0.1:70/x"), _NO_ADDRESS),
    "a next page in a file of the host": Row("tree", next_page("file:///etc/hostname"), _NO_ADDRESS),
    "a page that is its own next one": Row(
        "tree", lambda handler: next_page("{front}" + handler.path)(handler), "answers that lead to a further one"
    ),
    "pages without an end": Row(
        "tree", lambda handler: next_page("{front}" + handler.path + "x")(handler), "answers that lead to a further one"
    ),
    # What the listing says.
    "sizes: negative": Row("tree", entry(size=-1), "an entry.size is -1, expected"),
    "sizes: an exabyte": Row("tree", entry(size=1 << 62), "an entry.size is 4611686018427387904, expected"),
    "sizes: a fraction": Row("tree", entry(size=1.5), "an entry.size is 1.5, expected"),
    "sizes: a text": Row("tree", entry(size="300000"), "an entry.size is '300000', expected"),
    "sizes: null": Row("tree", entry(size=None), "an entry.size is null, expected"),
    "sizes: true": Row("tree", entry(size=True), "an entry.size is True, expected"),
    "sizes: none": Row("tree", without("size"), "that its client cannot read"),
    "sizes: zero": Row("tree", entry(size=0), "which is empty"),
    "sizes: one byte more": Row("tree", entry(size=len(CONTENT) + 1), f"a file of {len(CONTENT)} bytes"),
    "an oid that is a path": Row(
        "tree", lfs(oid="../../../outside/file"), "an entry.sha256 is '../../../outside/file'"
    ),
    "an oid that is an absolute path": Row("tree", lfs(oid="/etc/passwd"), "an entry.sha256 is '/etc/passwd'"),
    "an oid of 63 digits": Row("tree", lfs(oid="0" * 63), "an entry.sha256 is '0"),
    "an oid of another file": Row("tree", lfs(oid="0" * 64), "a file with sha256 "),
    "an oid that is a number": Row("tree", lfs(oid=5), "an entry.sha256 is 5"),
    "an oid that is a list": Row("tree", lfs(oid=["0" * 64]), "an entry.sha256 is a list"),
    "an oid with an escape sequence": Row("tree", lfs(oid="\x1b[2J" + "0" * 60), "an entry.sha256 is '\\x1b[2J0"),
    "lfs that is null": Row("tree", entry(lfs=None), RIGHT),
    "lfs that is a text": Row("tree", entry(lfs="x"), "that its client cannot read"),
    "a name that leads out": Row(
        "tree", entry(path="../../outside/file-Q8_0.gguf"), "an entry.path is '../../outside/"
    ),
    "a name that leads out further down": Row(
        "tree", entry(path="a/../../outside/file-Q8_0.gguf"), "an entry.path is 'a/../../outside/"
    ),
    "a name that is an absolute path": Row("tree", entry(path="/tmp/x-Q8_0.gguf"), "an entry.path is '/tmp/x"),
    "a name with an escape sequence": Row("tree", entry(path="\x1b[2Jx-Q8_0.gguf"), "an entry.path is '\\x1b[2Jx"),
    "a name with a line's end": Row("tree", entry(path="x\n-Q8_0.gguf"), "an entry.path is 'x\\n-"),
    "a name with a NUL": Row("tree", entry(path="x\0-Q8_0.gguf"), "an entry.path is 'x\\x00-"),
    "a name that reads backwards": Row("tree", entry(path="x\u202e-Q8_0.gguf"), "an entry.path is 'x\\u202e-"),
    "a name of five thousand letters": Row(
        "tree", entry(path="x" * 5000 + "-Q8_0.gguf"), "an entry.path has 5010 characters"
    ),
    "a name that is a number": Row("tree", entry(path=5), "an entry.path is 5"),
    "a name that is null": Row("tree", entry(path=None), "an entry.path is null"),
    "a name that is empty": Row("tree", entry(path=""), "'Q8_0', which is not in"),
    "a hidden name": Row("tree", entry(path=".ssh/x-Q8_0.gguf"), "'Q8_0', which is not in"),
    "an option for a name": Row("tree", entry(path="-x/-Q8_0.gguf"), "does not serve"),
    "names that differ in case": Row(
        "tree", listing(lambda entries: [*entries, {**entries[0], "path": NAME.lower()}]), "2 models of"
    ),
    "no name": Row("tree", without("path"), "that its client cannot read"),
    "no oid": Row("tree", without("oid"), "that its client cannot read"),
    "an entry that is a number": Row("tree", listing(lambda entries: [*entries, 5]), "that its client cannot read"),
    "an entry that is null": Row("tree", listing(lambda entries: [*entries, None]), "that its client cannot read"),
    "an object for a list": Row("tree", says_json({"error": "no"}), "that its client cannot read"),
    "an empty listing": Row("tree", says_json([]), "no GGUF model"),
    "a kind that nobody knows": Row("tree", entry(type="pipe"), "'Q8_0', which is not in"),
    "a shard that is missing": Row(
        "tree",
        listing(lambda entries: [each for each in entries if each["path"] != SHARDS[1]]),
        "2 of 3 shards of Q4_K_M",
        quant="Q4_K_M",
    ),
    "the same names twice": Row("tree", listing(lambda entries: [*entries, *entries]), RIGHT),
    # What is stated of the file.
    "a size that is no number": Row(
        "stated", to("{storage}/x", headers=[("X-Linked-Size", "many"), ("X-Linked-Etag", '"x"')]), RIGHT
    ),
    "a size that is negative": Row(
        "stated", to("{storage}/x", headers=[("X-Linked-Size", "-5")]), "size is -5, expected"
    ),
    "a tag of a megabyte": Row(
        "stated", to("{storage}/x", headers=[("X-Linked-Etag", "x" * 60_000)]), "etag has 60000 characters"
    ),
    "a redirect of a file of another size": Row(
        "file", to("{storage}/x", headers=[("X-Linked-Size", "5")]), "a file of 5 bytes"
    ),
    "a redirect of another file": Row(
        "file", to("{storage}/x", headers=[("X-Linked-Etag", '"' + "0" * 64 + '"')]), "a file with sha256 000"
    ),
    "a redirect with a size in superscript": Row(
        "file", to("{stranger}/right", headers=[("X-Linked-Size", "\xb2")]), RIGHT
    ),
    "a redirect with a size of 5000 digits": Row(
        "file", to("{stranger}/right", headers=[("X-Linked-Size", "9" * 5000)]), RIGHT
    ),
    # The bytes.
    "other bytes": Row(
        "bytes",
        ranges(lambda h, p: raw(h, 206, b"GGUF".ljust(p.last + 1 - p.first, b"x"), [p.told()])),
        "wrong bytes (sha256 ",
    ),
    "a page of the same size": Row(
        "bytes", ranges(lambda h, p: raw(h, 206, _HTML.ljust(p.last + 1 - p.first), [p.told()])), "an HTML page"
    ),
    "a page": Row("bytes", says(200, _HTML, [("Content-Type", "text/html")]), "an HTML page"),
    "a pointer of git": Row("bytes", says(200, b"version https://git-lfs.github.com/spec/v1\n"), "a Git LFS pointer"),
    "all of the file instead of a range": Row("bytes", ranges(lambda h, p: raw(h, 200, p.content)), RIGHT),
    "all of another file": Row(
        "bytes", ranges(lambda h, p: raw(h, 200, p.content[:-1])), f"a file of {len(CONTENT) - 1} bytes"
    ),
    "a range that begins elsewhere": Row(
        "bytes",
        ranges(lambda h, p: raw(h, 206, p.content[:10], [p.told(p.first + 1)])),
        "bytes 1 to 131071 instead of 0 to 131071",
    ),
    "a range that overlaps": Row(
        "bytes",
        ranges(lambda h, p: raw(h, 206, p.content, [p.told(p.first, p.size)])),
        "bytes 0 to 300000 instead of 0 to 131071",
    ),
    "a range of another file": Row(
        "bytes", ranges(lambda h, p: raw(h, 206, p.content, [p.told(size=p.size + 1)])), "a file of 300001 bytes"
    ),
    "a range of a size with 5000 digits": Row(
        "bytes",
        ranges(lambda h, p: raw(h, 206, b"", [p.told(size="9" * 5000)])),
        "a partial answer without a valid Content-Range",
    ),
    "a range that is not told": Row(
        "bytes",
        ranges(lambda h, p: raw(h, 206, p.content[p.first : p.last + 1])),
        "a partial answer without a valid Content-Range",
    ),
    "ranges of one byte": Row(
        "bytes",
        ranges(lambda h, p: raw(h, 206, p.content[p.first : p.first + 1], [p.told(last=p.first)])),
        "1 bytes where",
    ),
    "several ranges at once": Row(
        "bytes",
        says(206, b"--x", [("Content-Type", "multipart/byteranges; boundary=x")]),
        "a partial answer without a valid Content-Range",
    ),
    "fewer bytes than said": Row(
        "bytes",
        ranges(lambda h, p: raw(h, 206, p.content[p.first : p.last], [p.told()], p.last + 1 - p.first)),
        "an answer truncated at byte 131071 of 300000",
        quant="Q8_0",
    ),
    "more bytes than said": Row(
        "bytes", ranges(lambda h, p: raw(h, 206, p.content[p.first :] * 2, [p.told()], p.last + 1 - p.first)), RIGHT
    ),
    "two ranges told": Row(
        "bytes", ranges(lambda h, p: raw(h, 206, p.content[p.first : p.last + 1], [p.told(), p.told(0, 0)])), RIGHT
    ),
    "another tag for every range": Row(
        "bytes",
        ranges(lambda h, p: raw(h, 206, p.content[p.first : p.last + 1], [p.told(), ("ETag", f'"{p.first}"')])),
        RIGHT,
    ),
    "packed bytes": Row(
        "bytes",
        ranges(lambda h, p: raw(h, 206, p.content[:9], [p.told(), ("Content-Encoding", "gzip")])),
        "the encoding gzip",
    ),
    "bytes in chunks without an end": Row(
        "bytes",
        pours(b"HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\n", b"10000\r\nGGUF" + b"x" * 65532 + b"\r\n"),
        "wrong bytes (sha256 ",
    ),
    "slow headers of the bytes": Row("bytes", dribbles(b"HTTP/1.1 206 x\r\n", b"X-More: 1\r\n" * 99), _SLOW_HEADERS),
    "a byte at a time": Row(
        "bytes", ranges(lambda h, p: dribbles(_range_head(p.told()[1], p.last + 1 - p.first), p.content)(h)), _SLOW
    ),
    "silence instead of bytes": Row("bytes", silent, "no byte for 1 s"),
    "silence instead of bytes once": Row("bytes", silent, RIGHT, times=1),
    "nothing beyond the beginning": Row(
        "bytes", says(416, headers=[("Content-Range", "bytes */5")]), "a file of 5 bytes"
    ),
    **{
        f"status {status} for the bytes": Row("bytes", says(status), f"HTTP status {status}")
        for status in (400, 401, 403, 404, 410, 451)
    },
}


def _range_head(told: str, length: int) -> bytes:
    return f"HTTP/1.1 206 x\r\nContent-Range: {told}\r\nContent-Length: {length}\r\n\r\n".encode()


def test_no_behaviour_is_lost() -> None:
    assert len(BEHAVIOURS) == 199


def _stranger(asked: Asked, peer: Peer) -> None:
    """Answer as a third origin: it has the file, another one of the same size, and an empty listing."""
    content = {"/right": CONTENT, "/wrong": b"GGUF".ljust(len(CONTENT), b"x")}.get(asked.path)
    if content is not None:
        last = min(int(asked.headers["range"].rpartition("-")[2]), len(content) - 1)
        peer.reply(
            206, content[asked.first : last + 1], [("Content-Range", f"bytes {asked.first}-{last}/{len(content)}")]
        )
    elif asked.path == "/empty":
        peer.reply(200, b"[]", [("Content-Type", "application/json")])
    else:
        peer.reply(403)


@pytest.fixture
def stranger(hub: Hub) -> typing.Iterator[RawServer]:
    with RawServer(_stranger, "127.0.0.2").serving() as server:
        setattr(hub, "stranger", server)  # noqa: B010 - the Hub itself knows no third origin
        yield server


@pytest.fixture
def wanted(hub: Hub, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Result:
    """Parameters that take a model of the hub with a token, and little patience."""
    folder = hub.root / "repos" / "owner" / "gated"
    folder.mkdir(parents=True)
    for name in (NAME, *SHARDS):
        (folder / name).write_bytes(weights(name, len(CONTENT)))
    (folder / ".hub.json").write_text('{"gated": true, "granted": ["alice"]}', encoding="utf-8")
    (hub.root / "accounts.json").write_text(json.dumps({TOKEN: "alice"}), encoding="utf-8")
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(
        http_ask, "USUAL", http_ask.Patience(seconds=1.0, total=3.0, tries=3, backoff=0.01, longest_wait=0.05)
    )
    manner = request.Manner(segment=1 << 17, stall=1.0, longest_wait=0.05, backoff=0.01, tries=3)
    monkeypatch.setattr(segments, "fetch_all", functools.partial(segments.fetch_all, manner=manner))
    monkeypatch.setattr(hub_transport, "MOST_REQUESTS", 30)
    return {
        **{name: argument.get("default") for name, argument in ARGUMENTS.items()},
        "source": "owner/gated",
        "token": TOKEN,
        "endpoint": hub.url,
        "root": str(tmp_path / "root"),
        "instances": str(tmp_path / "etc"),
        "progress_file": str(tmp_path / "progress"),
    }


@pytest.mark.parametrize("name", BEHAVIOURS)
def test_the_right_bytes_or_one_sentence(
    name: str,
    hub: Hub,
    wanted: Result,
    stranger: RawServer,
    outside: pathlib.Path,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    row = BEHAVIOURS[name]
    if row.public:
        monkeypatch.setattr(origins.Road, "is_private", False)
    hub.hostile = hostile = Hostile(row.phase, row.act, row.times)
    said: list[str] = []
    with contextlib.suppress(ProblemError) if row.word else contextlib.nullcontext():
        try:
            call(wanted, quant=row.quant)
        except ProblemError as error:
            said = [str(problem) for problem in error.problems]
            raise
    log = hub.settle()
    hostile.require_played()
    _assert_outcome(row, said, tmp_path)
    assert len(log) + len(stranger.asked) <= MOST_REQUESTS
    assert [each.path for each in log if each.origin == "storage" and each.authorized] == []
    assert [each.path for each in stranger.asked if TOKEN in each.authorization] == []
    assert {path.name for path in tmp_path.iterdir()} <= {"hub", "outside", "root", "etc", "progress"}, (
        "another file was made"
    )
    assert outside.is_dir()


def _assert_outcome(row: Row, said: list[str], tmp_path: pathlib.Path) -> None:
    """Assert the right bytes and no message, or one sentence for a terminal and no model."""
    models = [path for path in (tmp_path / "root" / "models").rglob("*.gguf") if path.is_file()]
    assert {path.read_bytes() for path in models} <= {CONTENT, *(weights(name, len(CONTENT)) for name in SHARDS)}
    if not row.word:
        assert [path.name for path in models] == [NAME]
        assert models[0].read_bytes() == CONTENT
        return
    assert models == []
    (sentence,) = said
    assert any(word in sentence for word in row.word.split("|")), sentence
    assert sentence.isprintable()
    assert TOKEN not in sentence
    assert "Traceback" not in sentence
    assert len(sentence) < 2000
