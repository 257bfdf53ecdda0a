# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The image's health check, against real servers."""

import contextlib
import dataclasses
import http.server
import os
import pathlib
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from llama_fleet import health, settings

NAMES = ("PORT", "LLAMA_SERVER_PORT", "LLAMA_SERVER_HOST", "LLAMA_ARG_PORT", "LLAMA_ARG_HOST")


class Server(http.server.ThreadingHTTPServer):
    """Answers /health with ``status``, all else with 200."""

    status = 200


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(self.server.status if self.path == "/health" and isinstance(self.server, Server) else 200)
        self.end_headers()

    def log_message(self, *_arguments: object) -> None:
        """Nothing."""


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


@contextlib.contextmanager
def serving(address: str) -> Iterator[Server]:
    with Server((address, 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        try:
            yield server
        finally:
            server.shutdown()


@pytest.fixture
def server() -> Iterator[Server]:
    # Only on this address: one that listens elsewhere is not found.
    with serving("127.0.0.2") as server:
        yield server


@pytest.mark.parametrize(("status", "expected"), [(200, 0), (503, 1), (204, 1)])
def test_it_is_what_the_server_says_of_itself(monkeypatch: pytest.MonkeyPatch, server: Server, status: int, expected: int) -> None:
    server.status = status
    monkeypatch.setenv("PORT", str(server.server_port))
    monkeypatch.setenv("LLAMA_SERVER_HOST", "127.0.0.2")
    assert health.main() == expected


def test_the_servers_own_variables_win(monkeypatch: pytest.MonkeyPatch, server: Server) -> None:
    monkeypatch.setenv("PORT", "1")
    monkeypatch.setenv("LLAMA_SERVER_HOST", "127.0.0.3")
    monkeypatch.setenv("LLAMA_ARG_PORT", str(server.server_port))
    monkeypatch.setenv("LLAMA_ARG_HOST", "127.0.0.2")
    assert health.main() == 0


@pytest.mark.parametrize("host", ["", "0.0.0.0"])
def test_without_settings_it_is_the_roles_port_on_this_machine(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    catalogue = settings.load()
    with serving("127.0.0.1") as server:
        port = dataclasses.replace(catalogue.variables["llama_server_port"], default=server.server_port)
        changed = dataclasses.replace(catalogue, variables={**catalogue.variables, "llama_server_port": port})
        monkeypatch.setattr(settings, "load", lambda: changed)
        monkeypatch.setenv("LLAMA_SERVER_HOST", host)
        assert health.main() == 0


def test_where_nobody_listens_it_is_unhealthy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {**os.environ, "PORT": str(port), "PYTHONPATH": str(pathlib.Path(health.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-m", "llama_fleet.health"], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "")


def test_who_does_not_speak_http_is_unhealthy(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        other.settimeout(10)
        monkeypatch.setenv("PORT", str(other.getsockname()[1]))

        def answer() -> None:
            connection, _address = other.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"220 mail\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        assert health.main() == 1
        thread.join()
