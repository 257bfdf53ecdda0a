# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Against a real HTTP server that can break off, forget ranges, redirect and refuse."""

from __future__ import annotations

import hashlib
import http.server
import json
import threading
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch import download
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.index import IndexFile, find_file, index_url
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.pinned import Package
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError

if typing.TYPE_CHECKING:
    import pathlib

CONTENT = bytes(range(256)) * 4096
MOST = 1 << 30
SUM = hashlib.sha256(CONTENT).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    requests: typing.ClassVar[list[tuple[str, str | None, str | None]]] = []
    breaks: typing.ClassVar[int] = 0

    def log_message(self, *_arguments: object) -> None:
        pass

    def do_GET(self) -> None:
        cls = type(self)
        cls.requests.append((self.path, self.headers["Range"], self.headers["Authorization"]))
        if self.path == "/index/demo-package/":
            self._answer(200, json.dumps({"files": LISTING}).encode())
        elif self.path == "/html/demo-package/":
            self._answer(200, b"<html></html>")
        elif self.path == "/elsewhere":
            self.send_response(302)
            self.send_header("Location", f"http://localhost:{self.server.server_address[1]}/file")
            self.end_headers()
        elif self.path in ("/file", "/no-ranges"):
            self._file()
        else:
            self._answer(404, b"nothing here")

    def _file(self) -> None:
        asked = self.headers["Range"]
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and self.path == "/file" else 0
        body = CONTENT[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if type(self).breaks > 0:
            type(self).breaks -= 1
            body = body[: len(body) // 2]
        self.wfile.write(body)

    def _answer(self, code: int, body: bytes) -> None:
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


LISTING = [
    {"filename": "demo_package-1.0.0.tar.gz", "url": "../files/a", "hashes": {"sha256": "aa" * 32}, "size": 5},
    {"filename": "demo_package-1.10.0.tar.gz", "url": "../files/d", "hashes": {"sha256": "dd" * 32}, "size": 7},
    {"filename": "demo_package-1.1.0.tar.gz", "url": "../files/b", "hashes": {"sha256": "bb" * 32}, "size": 6},
    {"filename": "demo_package-1.1.0-py3-none-any.whl", "url": "../files/c", "hashes": {"sha256": "cc" * 32}},
]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> typing.Iterator[str]:
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    Handler.requests.clear()
    Handler.breaks = 0
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_address[1]}"
        httpd.shutdown()


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


def test_an_index_tells_where_a_file_is(server: str) -> None:
    found = find_file(f"{server}/index", Package("Demo.Package", "1.1.0"), ".tar.gz", "v")
    assert found == IndexFile("demo_package-1.1.0.tar.gz", f"{server}/index/files/b", "bb" * 32, 6)
    assert find_file(f"{server}/index/", Package("demo-package", "1.1.0"), ".whl", "v").sha256 == "cc" * 32


@pytest.mark.parametrize(
    ("index", "package", "message"),
    [
        (
            "index",
            Package("demo-package", "9"),
            "v: expected .* \\(1.0.0, 1.1.0, 1.10.0\\), found demo-package==9, which has no .tar.gz file .*",
        ),
        ("index", Package("other", "9"), "v: expected .*, found the project other, which .* does not have"),
        ("html", Package("demo-package", "1.1.0"), "package index: expected .*, found an answer .* not JSON"),
    ],
)
def test_an_index_without_the_file(server: str, index: str, package: Package, message: str) -> None:
    with pytest.raises(ProblemError, match=message):
        find_file(f"{server}/{index}", package, ".tar.gz", "v")


def test_the_index_is_the_one_given_else_the_one_pip_uses(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    monkeypatch.delenv("PIP_INDEX_URL", raising=False)
    monkeypatch.delenv("PIP_CONFIG_FILE", raising=False)
    machine, user = tmp_path / "machine.conf", tmp_path / "user.conf"
    files = [str(machine), str(user)]
    assert index_url("", files) == "https://pypi.org/simple"
    machine.write_text("[global]\nindex-url = https://machine/%20simple\n")
    assert index_url("", files) == "https://machine/%20simple"
    user.write_text("[global]\nindex-url = https://user/simple\n")
    assert index_url("", files) == "https://user/simple"
    monkeypatch.setenv("PIP_INDEX_URL", "https://environment/simple")
    assert index_url("", files) == "https://environment/simple"
    assert index_url("https://given/simple", files) == "https://given/simple"


def test_a_broken_pip_configuration_is_left_to_pip(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PIP_INDEX_URL", raising=False)
    (tmp_path / "pip.conf").write_text("no section\n")
    assert index_url("", [str(tmp_path / "pip.conf")]) == "https://pypi.org/simple"
