# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import http.server
import os
import socket
import threading
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.host import ports, processes

if typing.TYPE_CHECKING:
    import pathlib


TCP = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1\
 0000000000000000 100 0 0 10 0
   1: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4712 1\
 0000000000000000 100 0 0 10 0
   2: 0100007F:1F90 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 4713 1\
 0000000000000000 100 0 0 10 0
"""


TCP6 = """\
  sl  local_address                         remote_address                        st tx_queue\
 rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000000000000000000001000000:1F91 00000000000000000000000000000000:0000 0A\
 00000000:00000000 00:00000000 00000000     0        0 4714 1 0 100 0
   1: 00000000000000000000000000000000:1F92 00000000000000000000000000000000:0000 0A\
 00000000:00000000 00:00000000 00000000     0        0 4715 1 0 100 0
"""


@pytest.fixture
def proc(tmp_path: pathlib.Path) -> pathlib.Path:
    """Make a /proc in which pid 42 holds the socket 4711 and pid 43 is not readable."""
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "tcp").write_text(TCP, encoding="ascii")
    (tmp_path / "net" / "tcp6").write_text(TCP6, encoding="ascii")
    (tmp_path / "42" / "fd").mkdir(parents=True)
    (tmp_path / "42" / "comm").write_text("nginx\n", encoding="ascii")
    (tmp_path / "42" / "fd" / "7").symlink_to("socket:[4711]")
    (tmp_path / "43").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("port", "host", "expected"),
    [
        (8080, "127.0.0.1", [("127.0.0.1", 42)]),
        (8080, "localhost", [("127.0.0.1", 42)]),
        (8080, "0.0.0.0", [("127.0.0.1", 42)]),
        (8080, "10.0.0.1", []),
        (8081, "::1", [("::1", 0)]),
        (8082, "127.0.0.1", [("::", 0)]),
        (22, "192.168.1.5", [("0.0.0.0", 0)]),
        (9999, "127.0.0.1", []),
    ],
)
def test_who_is_in_the_way(proc: pathlib.Path, port: int, host: str, expected: list[tuple[str, int]]) -> None:
    assert [(found.address, found.pid) for found in ports.listeners(port, host, proc)] == expected
    assert processes.name(42, proc) == "nginx"


def test_a_real_listener_is_found_with_its_pid() -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        found = ports.listeners(server.server_address[1], "127.0.0.1")
        assert [(listener.address, listener.pid) for listener in found] == [("127.0.0.1", os.getpid())]
        server.shutdown()


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1", True),
        ("0.0.0.0", True),
        ("localhost", True),
        ("192.0.2.7", False),
        ("no-such-host.invalid", False),
    ],
)
def test_addresses_of_this_host(host: str, local: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if host.endswith(".invalid"):

        def unknown(*_arguments: typing.Any, **_more: typing.Any) -> list[typing.Any]:
            raise socket.gaierror(-2, "Name or service not known")

        monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert ports.is_local_address(host) is local
