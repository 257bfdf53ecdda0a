# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The table of answers of a hostile Hub: revisions, HTTP, failures and redirects."""

from __future__ import annotations

import email.utils
import gzip

from tests.hostile.hub_acts import dribbles, listing, next_page, pours, reset, says, says_json, silent, to
from tests.hostile.hub_rows import HTML, NAME, NO_ADDRESS, RIGHT, SLOW, SLOW_HEADERS, Row

JSON_HEAD = b"HTTP/1.1 200 x\r\nContent-Type: application/json\r\n"
CHUNKED = b"HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\n"
SHA = "0" * 40
NUMBER = b'{"id": "x", "sha": 7}'
PAST = email.utils.formatdate(0, usegmt=True)


def forever(status: int) -> str:
    return "too many requests" if status == 429 else f"HTTP status {status}"


PASSING = (408, 425, 429, 500, 502, 503, 504)
ANSWERS: dict[str, Row] = {
    # What names the revision.
    "a commit that is a path": Row(
        "commit", says_json({"id": "x", "sha": "../../../outside"}), "the commit of 'main' is '../../../outside'"
    ),
    "a commit that is an absolute path": Row(
        "commit", says_json({"id": "x", "sha": "/etc"}), "the commit of 'main' is '/etc'"
    ),
    "a commit that is null": Row("commit", says_json({"id": "x", "sha": None}), "the commit of 'main' is null"),
    "a commit that is a number": Row("commit", says_json({"id": "x", "sha": 7}), "the commit of 'main' is 7"),
    "a commit that is a list": Row("commit", says_json({"id": "x", "sha": [SHA]}), "the commit of 'main' is a list"),
    "no commit": Row("commit", says_json({"id": "x"}), "the commit of 'main' is null"),
    "a commit of 41 digits": Row("commit", says_json({"id": "x", "sha": "0" * 41}), "the commit of 'main' is '0"),
    "a commit in upper case": Row("commit", says_json({"id": "x", "sha": "A" * 40}), "the commit of 'main' is 'A"),
    "a commit with an escape sequence": Row(
        "commit", says_json({"id": "x", "sha": "\x1b[2J" + "0" * 36}), "the commit of 'main' is '\\x1b[2J0"
    ),
    "a commit with a line's end": Row("commit", says_json({"id": "x", "sha": SHA + "\n"}), "0\\n', expected"),
    "a list for an object": Row("commit", says_json([]), "that its client cannot read"),
    "null for an object": Row("commit", says_json(None), "that its client cannot read"),
    "a number for an object": Row("commit", says_json(5), "that its client cannot read"),
    "a page for people": Row("commit", says(200, HTML, [("Content-Type", "text/html")]), "no answer of a Hub"),
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
        "commit", says(200, NUMBER, [("Content-Length", "-5")], length=-1), "the commit of 'main' is 7"
    ),
    "a length that is no number": Row(
        "commit", says(200, NUMBER, [("Content-Length", "many")], length=-1), "the commit of 'main' is 7"
    ),
    "two lengths": Row("commit", says(200, NUMBER, [("Content-Length", "1")]), "the commit of 'main' is 7"),
    "chunks without an end": Row(
        "commit",
        pours(JSON_HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + b" " * 65536 + b"\r\n"),
        "an answer of more than 33554432 bytes",
    ),
    "a chunk of a size that is none": Row(
        "commit", says(200, b"zz\r\n", [("Transfer-Encoding", "chunked")], length=-1), "a truncated answer"
    ),
    "trailers without an end": Row(
        "commit",
        pours(JSON_HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X: " + b"x" * 60_000 + b"\r\n"),
        "an answer with more bytes than requested",
    ),
    "a header of a megabyte": Row("commit", says(200, b"{}", [("X-Long", "x" * (1 << 20))]), "LineTooLong"),
    "ten thousand headers": Row("commit", says(200, b"{}", [("X-Many", "x")] * 10_000), "more than 100 headers"),
    "headers without an end": Row("commit", pours(b"HTTP/1.1 200 x\r\n", b"X: x\r\n" * 1000), "more than 100 headers"),
    "interim answers without an end": Row(
        "commit", dribbles(b"", b"HTTP/1.1 100 x\r\n\r\n" * 999, 0.001), SLOW_HEADERS
    ),
    "no HTTP": Row(
        "commit", lambda handler: handler.connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), "BadStatusLine"
    ),
    "slow headers": Row("commit", dribbles(b"HTTP/1.1 200 x\r\n", b"X-More: 1\r\n" * 99), SLOW_HEADERS),
    "a slow body": Row("commit", dribbles(JSON_HEAD + b"Content-Length: 900\r\n\r\n", b" " * 900), SLOW),
    "a black hole": Row("commit", silent, "no byte for 1 s"),
    "a black hole once": Row("commit", silent, RIGHT, times=1),
    "the connection closed": Row("commit", lambda _handler: None, "RemoteDisconnected"),
    # One moment, or for ever.
    **{f"status {status} once for the commit": Row("commit", says(status), RIGHT, times=1) for status in PASSING},
    **{f"status {status} once for the listing": Row("tree", says(status), RIGHT, times=1) for status in PASSING},
    **{f"status {status} once for what is stated": Row("stated", says(status), RIGHT, times=1) for status in PASSING},
    **{f"status {status} once for the bytes": Row("bytes", says(status), RIGHT, times=1) for status in PASSING},
    **{f"status {status} for ever for the commit": Row("commit", says(status), forever(status)) for status in PASSING},
    **{
        f"status {status} for ever for the bytes": Row("bytes", says(status), f"HTTP status {status}")
        for status in PASSING
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
    "a wait until long ago": Row("bytes", says(503, headers=[("Retry-After", PAST)]), RIGHT, times=1),
    "a limit that is none": Row("tree", says(429, headers=[("RateLimit", f'"api";r=0;t={"9" * 400}')]), RIGHT, times=1),
    # Where it leads.
    "redirects in a circle: the commit": Row(
        "commit", to("{front}/api/models/owner/gated/revision/main"), "TooManyRedirects"
    ),
    "redirects in a circle: the file": Row("file", to("/owner/gated/resolve/main/x"), "more than 10 redirects"),
    **{
        f"a redirect to {scheme}: the {phase}": Row(
            phase, to(f"{scheme}://127.0.0.1:21/x"), "no answer" if phase == "commit" else NO_ADDRESS
        )
        for scheme in ("gopher", "ftp")
        for phase in ("file", "bytes")
    },
    "a redirect to a file of the host": Row("file", to("file:///etc/hostname"), NO_ADDRESS),
    "a redirect to nothing": Row("file", to(""), "a redirect without a valid target"),
    "a redirect to what is no address": Row("bytes", to("http://[::1/"), "a redirect without a valid target"),
    "the API redirects to a stranger": Row("commit", to("{stranger}/x"), "to which it leads"),
    "the API redirects to gopher": Row("commit", to("gopher://127.0.0.1:70/x"), NO_ADDRESS),
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
    "a next page by gopher": Row("tree", next_page("gopher://127.0.0.1:70/x"), NO_ADDRESS),
    "a next page in a file of the host": Row("tree", next_page("file:///etc/hostname"), NO_ADDRESS),
    "a page that is its own next one": Row(
        "tree", lambda handler: next_page("{front}" + handler.path)(handler), "answers that lead to a further one"
    ),
    "pages without an end": Row(
        "tree", lambda handler: next_page("{front}" + handler.path + "x")(handler), "answers that lead to a further one"
    ),
}
