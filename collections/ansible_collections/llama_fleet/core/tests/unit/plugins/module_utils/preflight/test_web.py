# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test short requests over real HTTP within a time limit."""

from __future__ import annotations

import contextlib
import email.utils
import http.server
import threading
import time
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.preflight import network as preflight_network
from ansible_collections.llama_fleet.core.plugins.module_utils.preflight import web as preflight_http
from ansible_collections.llama_fleet.core.plugins.module_utils.preflight.network import Place
from ansible_collections.llama_fleet.core.plugins.module_utils.preflight.web import SilentError


class Handler(http.server.BaseHTTPRequestHandler):
    seen: typing.ClassVar[list[tuple[str, str | None, str | None]]] = []

    def log_message(self, *_arguments: object) -> None:
        pass

    def do_GET(self) -> None:
        self.seen.append((self.path, self.headers["Range"], self.headers["Authorization"]))
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("X-Linked-Size", "5000")
            port = self.server.server_port  # type: ignore[attr-defined]  # because it is an HTTPServer
            self.send_header("Location", f"http://localhost:{port}/elsewhere")
            self.end_headers()
        elif self.path == "/circle":
            self.send_response(302)
            self.send_header("Location", "/circle")
            self.end_headers()
        elif self.path == "/old":
            self.send_response_only(401)
            self.send_header("Date", email.utils.formatdate(time.time() - 86400, usegmt=True))
            self.send_header("X-Error-Code", "Gated<Repo>")
            self.end_headers()
        elif self.path == "/nonsense":
            self.wfile.write(b"nonsense\r\n\r\n")
        else:
            self.send_response(206 if self.headers["Range"] else 200)
            self.send_header("Content-Range", "bytes 0-0/77")
            self.end_headers()
            self.wfile.write(b"x" if self.headers["Range"] else b"[]")


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> typing.Iterator[str]:
    monkeypatch.setenv("no_proxy", "*")
    Handler.seen.clear()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_a_file_costs_one_byte_and_a_listing_is_read(served: str) -> None:
    ask = preflight_http.asker(5.0)
    reply = ask(f"{served}/file")
    assert (reply.status, reply.body, reply.size, reply.ok) == (206, b"x", 77, True)
    assert reply.skew is not None
    assert abs(reply.skew) < 60
    assert ask(f"{served}/list", listing=True).body == b"[]"
    assert [seen[1] for seen in Handler.seen] == ["bytes=0-0", None]


def test_another_server_gets_no_token(served: str) -> None:
    preflight_http.asker(5.0)(f"{served}/moved", {"Authorization": "Bearer s3cr3t"})
    assert [(path, token) for path, _range, token in Handler.seen] == [
        ("/moved", "Bearer s3cr3t"),
        ("/elsewhere", None),
    ]


def test_an_answer_that_refuses_tells_the_time_too(served: str) -> None:
    reply = preflight_http.asker(5.0)(f"{served}/old")
    assert (reply.status, reply.code, reply.ok) == (401, "GatedRepo", False)
    assert reply.skew is not None
    assert 86_000 < reply.skew < 87_000


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("{}/nonsense", "no answer from {}/nonsense (BadStatusLine"),
        ("{}/circle", "more than 10 redirects from {}/circle"),
        ("http://127.0.0.1:1/x?token=s3cr3t", "no answer from http://127.0.0.1:1/x (Connection refused)"),
        ("http://nowhere.invalid/", "no answer from http://nowhere.invalid/ ("),
        ("ftp//x", "an address that does not begin with http:// or https:// and a host from ftp//x"),
        ("http://[x/", "an address that does not begin with http:// or https:// and a host from an invalid address"),
    ],
)
def test_who_does_not_answer_is_named_without_secrets(served: str, url: str, reason: str) -> None:
    with pytest.raises(SilentError) as silent:
        preflight_http.asker(5.0)(url.format(served), {"Authorization": "Bearer s3cr3t"})
    assert "s3cr3t" not in str(silent.value)
    assert str(silent.value).startswith(reason.format(served))


def test_a_header_that_http_does_not_allow_is_not_shown(served: str) -> None:
    with pytest.raises(SilentError) as silent:
        preflight_http.asker(5.0)(served, {"Authorization": "Bearer s3cr3t\n"})
    assert "s3cr3t" not in str(silent.value)


def test_no_request_takes_longer_than_the_limit() -> None:
    never = threading.Event()
    with contextlib.ExitStack() as stack:
        stack.callback(never.set)
        done = preflight_http.side_by_side({"slow": never.wait, "quick": lambda: True}, 1.0)
    assert done == {"quick": True}
    check = preflight_network.silent(Place("model", "gguf_model_source", "https://files.example/a.gguf"), 25.0).check
    assert (check.severity, check.found) == ("error", "no answer from https://files.example/a.gguf within 25 s")
