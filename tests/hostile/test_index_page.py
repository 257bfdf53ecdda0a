# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""A package index whose page says what it likes: the pinned bytes come, or one sentence that names the cause."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import json
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch import ask as http_ask
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch import download
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch import index as package_index
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch import rules as origins
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.pinned import Package
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError
from ansible_collections.llama_fleet.core.tests.unit.raw_server import Asked, Peer, RawServer
from tests.hostile.hub_acts import Act, Hostile, dribbles, pours, reset, says, says_json, silent, to

if typing.TYPE_CHECKING:
    import pathlib

    from tests.hub import Hub

NAME = "tool-1.0-py3-none-any.whl"
BYTES = bytes(range(256)) * 1024
SHA256 = hashlib.sha256(BYTES).hexdigest()
RIGHT = ""
MOST_REQUESTS = 15
# Where this machine is so busy that even a slow server falls behind, that is what is told.
_SLOW = "fewer than|no byte for 1 s"
_SLOW_HEADERS = "incomplete headers|no byte for 1 s"
_NO_ADDRESS = "an address that does not begin with http:// or https://"
_NOT_LISTED = "which has no file of tool 1.0"


@dataclasses.dataclass(frozen=True)
class Row:
    """A behaviour: of the page or the file, what is done how often, and a word of the sentence that has to come of
    it, or one of several with | between.
    """

    act: Act
    word: str
    times: int = 1 << 30
    phase: str = "page"
    public: bool = False


def listed(**fields: object) -> Act:
    """Answer with the page of one file, with other values in some fields."""
    return files(
        {"filename": NAME, "url": f"../../packages/{NAME}", "hashes": {"sha256": SHA256}, "size": len(BYTES), **fields}
    )


def files(*entries: object) -> Act:
    return says_json({"meta": {"api-version": "1.0"}, "name": "tool", "files": list(entries)})


def at(target: str, **fields: object) -> Act:
    """Answer with the page of one file, which is at another origin."""

    def answer(handler: typing.Any) -> None:
        stranger = getattr(handler.hub, "stranger")  # noqa: B009 - the Hub knows no third origin
        listed(url=target.format(stranger.url), **fields)(handler)

    return answer


BEHAVIOURS: dict[str, Row] = {
    "another sum": Row(listed(hashes={"sha256": "0" * 64}), _NOT_LISTED),
    "no sum": Row(listed(hashes={}), _NOT_LISTED),
    "sums that are null": Row(listed(hashes=None), _NOT_LISTED),
    "sums that are a list": Row(listed(hashes=["sha256"]), "files[0].hashes is a list"),
    "a sum that is a number": Row(listed(hashes={"sha256": 5}), "hashes.sha256 is 5"),
    "a sum that is a path": Row(listed(hashes={"sha256": "../../outside"}), "a sha256 is '../../outside'"),
    "a sum in upper case": Row(listed(hashes={"sha256": SHA256.upper()}), f"a sha256 is '{SHA256.upper()[:60]}"),
    "a sum of another kind": Row(listed(hashes={"md5": "0" * 32}), _NOT_LISTED),
    "yanked": Row(listed(yanked=True), RIGHT),
    "yanked for a reason": Row(listed(yanked="\x1b[2J"), RIGHT),
    "a size that is negative": Row(listed(size=-1), "files[0].size is -1,"),
    "a size that is a fraction": Row(listed(size=1.5), "files[0].size is 1.5,"),
    "a size that is a text": Row(listed(size="5"), "files[0].size is '5',"),
    "a size of an exabyte": Row(listed(size=1 << 62), "files[0].size is 4611686018427387904,"),
    "a size that is null": Row(listed(size=None), RIGHT),
    "a name that leads out": Row(listed(filename="../../outside/x.whl"), _NOT_LISTED),
    "a name that is an absolute path": Row(listed(filename="/etc/x.whl"), _NOT_LISTED),
    "a name with an escape sequence": Row(listed(filename="\x1b[2J.whl"), "files[0].filename is '\\x1b[2J.whl'"),
    "a name that is a number": Row(listed(filename=5), "files[0].filename is 5"),
    "an address that is a number": Row(listed(url=5), "files[0].url is 5"),
    "an address that is null": Row(listed(url=None), "files[0].url is null"),
    "an invalid address": Row(listed(url="http://[::1/"), "files[0].url is 'http://[::1/'"),
    "an address by gopher": Row(listed(url="gopher://127.0.0.1:70/x"), "files[0].url is 'gopher:"),
    "an address by ftp": Row(listed(url="ftp://127.0.0.1/x"), "files[0].url is 'ftp:"),
    "a file of the host": Row(listed(url="file:///etc/hostname"), "files[0].url is 'file:"),
    "data in the address": Row(listed(url="data:,x"), "files[0].url is 'data:,x'"),
    "the file is at another origin": Row(at("{}/right"), RIGHT),
    "another file is at another origin": Row(
        at("{}/wrong"), f"sha256 {hashlib.sha256(BYTES[::-1]).hexdigest()} of {len(BYTES)} bytes"
    ),
    "another origin refuses": Row(at("{}/x"), "HTTP status 403"),
    "another origin sends without an end": Row(at("{}/endless"), "more bytes than requested"),
    "a public index names a private address": Row(at("{}/right"), "private address", public=True),
    "the same file twice": Row(
        files(*[{"filename": NAME, "url": f"../../packages/{NAME}", "hashes": {"sha256": SHA256}}] * 2), RIGHT
    ),
    "no files": Row(files(), _NOT_LISTED),
    "files that are null": Row(says_json({"files": None}), "the page.files is null"),
    "files that are an object": Row(says_json({"files": {}}), "the page.files is an object"),
    "an entry that is null": Row(files(None), "files[0] is null"),
    "an entry that is a list": Row(files([]), "files[0] is a list"),
    "an entry without a name": Row(files({"url": "x"}), "files[0] has no filename"),
    "an entry without an address": Row(files({"filename": NAME}), "files[0] has no url"),
    "a list for an object": Row(says_json([]), "the page is a list"),
    "null for an object": Row(says_json(None), "the page is null"),
    "a page for people": Row(says(200, b"<!DOCTYPE html>", [("Content-Type", "text/html")]), "the page is not JSON"),
    "nothing at all": Row(says(200), "the page is not JSON"),
    "half of a document": Row(says(200, b'{"files": ['), "the page is not JSON"),
    "a hundred thousand brackets": Row(says(200, b"[" * 100_000), "the page is not JSON"),
    "packed, which nobody asked for": Row(
        says(200, gzip.compress(json.dumps({"files": []}).encode()), [("Content-Encoding", "gzip")]),
        "the encoding gzip",
    ),
    "said to be a petabyte": Row(
        says(200, b"{}", length=1 << 50), "an answer of 1125899906842624 bytes (at most 33554432 accepted)"
    ),
    "chunks without an end": Row(
        pours(b"HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + b" " * 65536 + b"\r\n"),
        "an answer of more than 33554432 bytes",
    ),
    "ten thousand headers": Row(says(200, b"{}", [("X-Many", "x")] * 10_000), "more than 100 headers"),
    "shorter than said": Row(says(200, b"{}", length=500), "an answer truncated at byte 2 of 500"),
    "slow headers": Row(dribbles(b"HTTP/1.1 200 x\r\n", b"X-More: 1\r\n" * 99), _SLOW_HEADERS),
    "a slow body": Row(dribbles(b"HTTP/1.1 200 x\r\nContent-Length: 900\r\n\r\n", b" " * 900), _SLOW),
    "a black hole": Row(silent, "no byte for 1 s"),
    "a reset once": Row(reset, RIGHT, times=1),
    "a reset for ever": Row(reset, "reset"),
    "no such project": Row(says(404), "the project tool, which"),
    "a login that is refused": Row(says(401), "HTTP status 401"),
    **{f"status {status} once": Row(says(status), RIGHT, times=1) for status in (408, 425, 429, 500, 502, 503, 504)},
    **{
        f"status {status} for ever": Row(says(status), f"HTTP status {status}")
        for status in (408, 425, 429, 500, 502, 503, 504)
    },
    "a wait of a day": Row(says(429, headers=[("Retry-After", "86400")]), "asks to wait 86400 s"),
    "redirects in a circle": Row(to("/simple/tool/"), "more than 10 redirects"),
    "a redirect to gopher": Row(to("gopher://127.0.0.1:70/x"), _NO_ADDRESS),
    "a redirect to a stranger who refuses": Row(to("{stranger}/x"), "HTTP status 403"),
    "a public index redirects to a private address": Row(to("{stranger}/x"), "private address", public=True),
    "the file: a redirect to a stranger who has it": Row(to("{stranger}/right"), RIGHT, phase="package"),
    "the file: a redirect to ftp": Row(to("ftp://127.0.0.1/x"), _NO_ADDRESS, phase="package"),
    "the file: a redirect in a circle": Row(to("/packages/x"), "more than 10 redirects", phase="package"),
    "the file: a black hole": Row(silent, "no byte for 1 s", phase="package"),
    "the file: a wait of a day": Row(
        says(503, headers=[("Retry-After", "86400")]), "asks to wait 86400 s", phase="package"
    ),
}


def test_no_behaviour_is_lost() -> None:
    assert len(BEHAVIOURS) == 81


def _stranger(asked: Asked, peer: Peer) -> None:
    content = {"/right": BYTES, "/wrong": BYTES[::-1]}.get(asked.path)
    if content is not None:
        peer.reply(200, content)
    elif asked.path == "/endless":
        peer.send(b"HTTP/1.1 200 x\r\n\r\n")
        for _number in range(1000):
            peer.send(BYTES)
    else:
        peer.reply(403)


@pytest.mark.usefixtures("outside")
@pytest.mark.parametrize("name", BEHAVIOURS)
def test_the_pinned_bytes_or_one_sentence(
    name: str, hub: Hub, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = BEHAVIOURS[name]
    (hub.root / "simple").mkdir(parents=True)
    (hub.root / "simple" / NAME).write_bytes(BYTES)
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(
        http_ask, "USUAL", http_ask.Patience(seconds=1.0, total=3.0, tries=3, backoff=0.01, longest_wait=0.05)
    )
    if row.public:
        monkeypatch.setattr(origins.Road, "is_private", False)
    hub.hostile = hostile = Hostile(row.phase, row.act, row.times)
    target = tmp_path / "kept" / "x"
    said: list[str] = []
    with RawServer(_stranger, "127.0.0.2").serving() as stranger:
        setattr(hub, "stranger", stranger)  # noqa: B010 - the Hub itself knows no third origin
        try:
            file = package_index.find_by_sha256(
                f"{hub.url.replace('//', '//user:s3cr3t@')}/simple", Package("tool", "1.0"), SHA256, "index_url"
            )
            download.fetch(file.url, target, SHA256, "index_url", most=1 << 20, endpoint=file.index)
        except ProblemError as error:
            said = [str(problem) for problem in error.problems]
        assert [each.authorization for each in stranger.asked if each.authorization] == []
        log = hub.settle()
        hostile.require_played()
        assert log
        assert [each.path for each in log if not each.authorized] == [], "the index's own login"
        assert len(log) + len(stranger.asked) <= MOST_REQUESTS
    _assert_outcome(row.word, said, target)
    assert {path.name for path in tmp_path.iterdir()} <= {"hub", "outside", "kept"}


def _assert_outcome(word: str, said: list[str], target: pathlib.Path) -> None:
    if not word:
        assert (said, target.read_bytes()) == ([], BYTES)
        return
    assert not target.exists()
    (sentence,) = said
    assert any(each in sentence for each in word.split("|")), sentence
    assert sentence.isprintable()
    assert "s3cr3t" not in sentence
    assert len(sentence) < 2000
