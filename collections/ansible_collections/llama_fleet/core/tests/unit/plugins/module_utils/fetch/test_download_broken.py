# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test downloads from a server that is silent, busy, or sends bytes other than those requested."""

from __future__ import annotations

import dataclasses
import email.utils
import hashlib
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch import ask as http_ask
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch import download, rules
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.pool import Pool
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError
from ansible_collections.llama_fleet.core.tests.unit.raw_server import Asked, Peer, RawServer

if typing.TYPE_CHECKING:
    import pathlib

CONTENT = bytes(range(256)) * 4096
SUM = hashlib.sha256(CONTENT).hexdigest()
MOST = 1 << 30
HALF = len(CONTENT) // 2


def _part(asked: Asked, peer: Peer, body: bytes = CONTENT, start: int | None = None, total: int | None = None) -> None:
    """Send ``body`` from the requested offset, with a Content-Range that claims ``start`` and ``total`` bytes."""
    rest = body[asked.first :]
    begin = asked.first if start is None else start
    headers = [("Content-Range", f"bytes {begin}-{begin + len(rest) - 1}/{len(body) if total is None else total}")]
    peer.reply(206 if asked.first else 200, rest, headers if asked.first else [])


def _broken_off(peer: Peer) -> None:
    """Truncate the first answer; each test defines the others."""
    peer.reply(200, CONTENT[:HALF], length=len(CONTENT))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Set short time limits, and record the waits."""
    slept: list[float] = []
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(http_ask, "USUAL", http_ask.Patience(seconds=0.4, total=2, tries=3))
    monkeypatch.setattr("time.sleep", slept.append)
    return slept


def _problem(url: str, target: pathlib.Path, **more: typing.Any) -> str:
    with pytest.raises(ProblemError) as caught:
        download.fetch(url, target, SUM, "v", **{"most": MOST, **more})
    (problem,) = caught.value.problems
    return problem.found


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda _asked, peer: peer.silent(), "no answer from {url} (no byte for 0.4 s) (3 times in a row)"),
        (
            lambda _asked, peer: (peer.send(b"HTTP/1.1 200 x\r\nContent-Length: 9\r\n\r\n"), peer.silent()),
            "no byte for 0.4 s from {url} (3 times in a row)",
        ),
        (lambda _asked, peer: peer.reply(408), "HTTP status 408 from {url} (3 times in a row)"),
        (lambda _asked, peer: peer.reply(429), "HTTP status 429 from {url} (3 times in a row)"),
        (lambda _asked, peer: peer.reset(), "no answer from {url} (Connection reset by peer) (3 times in a row)"),
    ],
    ids=["silent", "silent after the headers", "408", "429", "reset"],
)
def test_a_server_that_stays_ill_is_given_up_and_a_moment_of_it_is_not(
    quick: list[float], tmp_path: pathlib.Path, answer: typing.Callable[[Asked, Peer], None], said: str
) -> None:
    with RawServer(answer).serving() as server:
        assert _problem(f"{server.url}/file", tmp_path / "f") == said.format(url=f"{server.url}/file")
        assert len(server.asked) == 3
        assert quick == [0.25, 0.5]
        server.asked.clear()
        server.answer = lambda asked, peer: answer(asked, peer) if len(server.asked) == 1 else _part(asked, peer)
        assert download.fetch(f"{server.url}/file", tmp_path / "f", SUM, "v", most=MOST) == SUM
        assert len(server.asked) == 2


@pytest.mark.parametrize(
    ("retry_after", "waits"),
    [
        ("7", [7, 7]),
        (email.utils.formatdate(1_000_007, usegmt=True), [7, 7]),
        ("86400", [60, 60]),
        ("soon", [0.25, 0.5]),
    ],
    ids=["seconds", "date", "a day", "garbage"],
)
def test_what_a_server_asks_to_wait_is_bounded_and_told(
    quick: list[float], tmp_path: pathlib.Path, retry_after: str, waits: list[float]
) -> None:
    headers = [("Retry-After", retry_after), ("Date", email.utils.formatdate(1_000_000, usegmt=True))]
    with RawServer(lambda _asked, peer: peer.reply(429, headers=headers)).serving() as server:
        said = _problem(f"{server.url}/file", tmp_path / "f")
        assert len(server.asked) == 3
    assert quick == waits
    assert ("the server asks to wait 86400 s (at most 60 s)" in said) is (retry_after == "86400")


@pytest.mark.parametrize(
    ("second", "said"),
    [
        (lambda asked, peer: _part(asked, peer, start=0), f"bytes 0 to {HALF - 1} instead of those from {HALF} from"),
        (lambda asked, peer: _part(asked, peer, start=asked.first + 1), "instead of those from"),
        (
            lambda asked, peer: _part(asked, peer, total=len(CONTENT) + 1),
            f"a file of {len(CONTENT) + 1} bytes, which was {len(CONTENT)} bytes before",
        ),
        (
            lambda _asked, peer: peer.reply(200, CONTENT[1:]),
            f"a file of {len(CONTENT) - 1} bytes, which was {len(CONTENT)} bytes before",
        ),
        (lambda asked, peer: peer.reply(206, CONTENT[asked.first :]), "a partial answer without a valid Content-Range"),
        (
            lambda asked, peer: peer.reply(206, b"", [("Content-Range", f"bytes {asked.first}-9/{'9' * 5000}")]),
            "without a valid Content-Range",
        ),
        (
            lambda asked, peer: peer.reply(
                206, CONTENT[asked.first :], [("Content-Range", f"bytes {asked.first}-{len(CONTENT)}/*")]
            ),
            "instead of those from",
        ),
    ],
    ids=[
        "the start",
        "a byte further",
        "another file",
        "another whole file",
        "no range",
        "a range of many digits",
        "more than there is",
    ],
)
@pytest.mark.usefixtures("quick")
def test_an_answer_for_other_bytes_is_found_by_its_start(
    tmp_path: pathlib.Path, second: typing.Callable[[Asked, Peer], None], said: str
) -> None:
    seen: list[int] = []
    with RawServer(lambda asked, peer: second(asked, peer) if asked.first else _broken_off(peer)).serving() as server:
        assert said in _problem(f"{server.url}/file", tmp_path / "f", seen=seen.append)
        assert len(server.asked) == 2
    assert (tmp_path / "f.part").read_bytes() == CONTENT[:HALF], "no byte of the second answer is kept"
    assert max(seen) == HALF


@pytest.mark.usefixtures("quick")
def test_a_range_that_is_shorter_than_the_rest_is_gone_on_with(tmp_path: pathlib.Path) -> None:
    def answer(asked: Asked, peer: Peer) -> None:
        if not asked.first:
            _broken_off(peer)
            return
        last = min(asked.first + HALF // 2, len(CONTENT)) - 1
        peer.reply(
            206, CONTENT[asked.first : last + 1], [("Content-Range", f"bytes {asked.first}-{last}/{len(CONTENT)}")]
        )

    with RawServer(answer).serving() as server:
        assert download.fetch(f"{server.url}/file", tmp_path / "f", SUM, "v", most=MOST) == SUM
        assert [asked.first for asked in server.asked] == [0, HALF, HALF + HALF // 2]


@pytest.mark.parametrize(
    ("answer", "said", "kept"),
    [
        (
            lambda _asked, peer: peer.reply(200, CONTENT),
            f"a file of {len(CONTENT)} bytes (at most 1000000 accepted)",
            0,
        ),
        (
            lambda _asked, peer: peer.reply(200, CONTENT, length=-1),
            "a file of more than 1000000 bytes (the limit)",
            1_000_000,
        ),
    ],
    ids=["headers", "not headers"],
)
@pytest.mark.usefixtures("quick")
def test_no_more_than_the_caller_allows(
    tmp_path: pathlib.Path, answer: typing.Callable[[Asked, Peer], None], said: str, kept: int
) -> None:
    with RawServer(answer).serving() as server:
        assert said in _problem(f"{server.url}/file", tmp_path / "f", most=1_000_000)
        assert len(server.asked) == 1
    assert (tmp_path / "f.part").stat().st_size <= kept
    assert not (tmp_path / "f").exists()


@pytest.mark.usefixtures("quick")
def test_a_stream_without_end_ends_at_the_limit(tmp_path: pathlib.Path) -> None:
    def answer(_asked: Asked, peer: Peer) -> None:
        peer.send(b"HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _number in range(1000):
            peer.send(b"10000\r\n" + b"x" * 65536 + b"\r\n")

    with RawServer(answer).serving() as server:
        assert "bytes" in _problem(f"{server.url}/file", tmp_path / "f", most=1_000_000)
        assert len(server.asked) <= 3
    assert (tmp_path / "f.part").stat().st_size <= 1_000_000


def test_a_key_does_not_follow_to_the_same_host_without_tls(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    """A redirect from https to http leads to another origin, even with the same host and port."""
    asked: list[tuple[str, typing.Mapping[str, str]]] = []
    real = Pool.ask

    def ask(pool: Pool, place: rules.Place, headers: typing.Mapping[str, str]) -> typing.Any:
        asked.append((place.url, place.secrets))
        if place.url.startswith("https://"):  # pretend that the https server answered
            place = dataclasses.replace(place, url=place.url.replace("https://", "http://") + "/tls")
        return real(pool, place, headers)

    def answer(given: Asked, peer: Peer) -> None:
        if given.path.endswith("/tls"):
            peer.reply(302, headers=[("Location", f"{server.url}/file")])
        else:
            _part(given, peer)

    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(Pool, "ask", ask)
    with RawServer(answer).serving() as server:
        url = server.url.replace("http://", "https://") + "/file"
        assert download.fetch(url, tmp_path / "f", SUM, "v", {"Authorization": "Bearer secret"}, most=MOST) == SUM
        assert [(each.path, each.authorization) for each in server.asked] == [
            ("/file/tls", "Bearer secret"),
            ("/file", ""),
        ]
    assert [secrets for _url, secrets in asked] == [{"Authorization": "Bearer secret"}, {}]


@pytest.mark.usefixtures("quick")
def test_a_file_of_an_index_gets_the_login_of_the_index_at_its_own_origin_alone(tmp_path: pathlib.Path) -> None:
    with RawServer(_part).serving() as index, RawServer(_part).serving() as other:
        login = f"http://user:word@127.0.0.1:{index.port}/simple/"
        for server in (index, other):
            download.fetch(f"{server.url}/file", tmp_path / "f", SUM, "v", most=MOST, endpoint=login)
        assert [each.authorization for each in (*index.asked, *other.asked)] == ["Basic dXNlcjp3b3Jk", ""]


@pytest.mark.usefixtures("quick")
def test_a_public_index_names_no_file_at_a_private_address(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = rules.is_private
    monkeypatch.setattr(rules, "is_private", lambda address: address != "127.0.0.2" and real(address))
    with RawServer(_part).serving() as inside:
        said = _problem(f"{inside.url}/file", tmp_path / "f", endpoint="http://127.0.0.2/simple/")
        assert "a link or redirect of a public server to the private address 127.0.0.1" in said
        assert inside.asked == []
