# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Provide a file server on this machine for the tests of fetch."""

from __future__ import annotations

import http.server
import threading
import typing

import pytest

from ansible_collections.llama_fleet.core.tests.unit.fakes.file_server import Handler


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> typing.Iterator[str]:
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    Handler.requests.clear()
    Handler.breaks = 0
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_address[1]}"
        httpd.shutdown()
