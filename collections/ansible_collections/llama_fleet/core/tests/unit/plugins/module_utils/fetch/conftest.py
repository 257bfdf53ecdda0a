# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Provide a file server on this machine for the tests of fetch."""

from __future__ import annotations

import contextlib
import http.server
import threading
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch import rules
from ansible_collections.llama_fleet.core.tests.unit.fakes.file_server import Handler
from ansible_collections.llama_fleet.core.tests.unit.fakes.site_network import Site, leave_network
from ansible_collections.llama_fleet.core.tests.unit.raw_server import RawServer

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.tests.unit.fakes.asking import Serve


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> typing.Iterator[str]:
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    Handler.requests.clear()
    Handler.breaks = 0
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_address[1]}"
        httpd.shutdown()


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> typing.Iterator[Serve]:
    """Start servers; 127.0.0.2 and 127.0.0.3 stand for addresses on a public network."""
    monkeypatch.setenv("no_proxy", "*")
    real = rules.is_private
    monkeypatch.setattr(
        rules, "is_private", lambda address: address not in ("127.0.0.2", "127.0.0.3") and real(address)
    )
    with contextlib.ExitStack() as stack:
        yield lambda answer, host="127.0.0.1": stack.enter_context(RawServer(answer, host).serving())


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> typing.Iterator[Site]:
    leave_network(monkeypatch)
    with contextlib.ExitStack() as stack:
        yield Site(stack, monkeypatch)
