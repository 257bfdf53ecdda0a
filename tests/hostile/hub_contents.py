# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The table of contents of a hostile Hub: listings, headers of a file, and its bytes."""

from __future__ import annotations

from tests.hostile.hub_acts import (
    dribbles,
    entry,
    lfs,
    listing,
    pours,
    ranges,
    raw,
    says,
    says_json,
    silent,
    to,
    without,
)
from tests.hostile.hub_rows import CONTENT, HTML, NAME, RIGHT, SLOW, SLOW_HEADERS, Row
from tests.unit.modules.gguf_model.case import SHARDS

CONTENTS: dict[str, Row] = {
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
        "bytes", ranges(lambda h, p: raw(h, 206, HTML.ljust(p.last + 1 - p.first), [p.told()])), "an HTML page"
    ),
    "a page": Row("bytes", says(200, HTML, [("Content-Type", "text/html")]), "an HTML page"),
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
    "slow headers of the bytes": Row("bytes", dribbles(b"HTTP/1.1 206 x\r\n", b"X-More: 1\r\n" * 99), SLOW_HEADERS),
    "a byte at a time": Row(
        "bytes", ranges(lambda h, p: dribbles(range_head(p.told()[1], p.last + 1 - p.first), p.content)(h)), SLOW
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


def range_head(told: str, length: int) -> bytes:
    return f"HTTP/1.1 206 x\r\nContent-Range: {told}\r\nContent-Length: {length}\r\n\r\n".encode()
