# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test downloads from a real HTTP server that truncates answers, ignores ranges, redirects and refuses."""

from __future__ import annotations

import hashlib
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch import download
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError
from ansible_collections.llama_fleet.core.tests.unit.fakes.file_server import CONTENT, Handler

if typing.TYPE_CHECKING:
    import pathlib

MOST = 1 << 30
SUM = hashlib.sha256(CONTENT).hexdigest()


def test_a_file_arrives_whole_and_verified(server: str, tmp_path: pathlib.Path) -> None:
    seen: list[int] = []
    assert download.fetch(f"{server}/file", tmp_path / "f", SUM, "v", seen=seen.append, most=MOST) == SUM
    assert (tmp_path / "f").read_bytes() == CONTENT
    assert seen[-1] == len(CONTENT)
    assert [path.name for path in tmp_path.iterdir()] == ["f"]


HALF = len(CONTENT) // 2


@pytest.mark.parametrize(("path", "third"), [("/file", HALF + HALF // 2), ("/no-ranges", HALF)])
def test_a_broken_connection_is_taken_up_again(server: str, tmp_path: pathlib.Path, path: str, third: int) -> None:
    Handler.breaks = 2
    assert download.fetch(server + path, tmp_path / "f", SUM, "v", most=MOST) == SUM
    assert [asked for _path, asked, _key in Handler.requests] == [None, f"bytes={HALF}-", f"bytes={third}-"]


def test_a_later_run_goes_on_where_the_first_was_killed(server: str, tmp_path: pathlib.Path) -> None:
    (tmp_path / "f.part").write_bytes(CONTENT[:1000])
    assert download.fetch(f"{server}/file", tmp_path / "f", SUM, "v", most=MOST) == SUM
    assert Handler.requests == [("/file", "bytes=1000-", None)]


def test_wrong_bytes_are_refused_and_not_kept(server: str, tmp_path: pathlib.Path) -> None:
    with pytest.raises(ProblemError, match=f"^v: expected sha256 00.*, found sha256 {SUM} of {len(CONTENT)} bytes .*"):
        download.fetch(f"{server}/file", tmp_path / "f", "00" * 32, "v", most=MOST)
    assert list(tmp_path.iterdir()) == []


def test_spoilt_bytes_of_an_earlier_run_are_fetched_anew(server: str, tmp_path: pathlib.Path) -> None:
    (tmp_path / "f.part").write_bytes(b"wrong")
    assert download.fetch(f"{server}/file", tmp_path / "f", SUM, "v", most=MOST) == SUM
    assert [asked for _path, asked, _key in Handler.requests] == ["bytes=5-", None]


def test_a_missing_file_is_not_asked_for_again(server: str, tmp_path: pathlib.Path) -> None:
    with pytest.raises(ProblemError, match=r"v: expected .*, found HTTP status 404"):
        download.fetch(f"{server}/nothing", tmp_path / "f", SUM, "v", most=MOST)
    assert len(Handler.requests) == 1


def test_nobody_there(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    with pytest.raises(ProblemError, match=r"no answer from http://127.0.0.1:9/x \(.*refused"):
        download.fetch("http://127.0.0.1:9/x", tmp_path / "f", SUM, "v", most=MOST)


def test_a_key_is_not_handed_to_another_origin(server: str, tmp_path: pathlib.Path) -> None:
    download.fetch(f"{server}/elsewhere", tmp_path / "f", SUM, "v", {"Authorization": "Bearer secret"}, most=MOST)
    assert [(path, key) for path, _range, key in Handler.requests] == [("/elsewhere", "Bearer secret"), ("/file", None)]
