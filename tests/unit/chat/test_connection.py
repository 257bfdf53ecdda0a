# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The guard of a connection, at a socket of this process; test_server.py drives it through the HTTP client."""

import os
import socket
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.host import processes
from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate import trust as server_trust
from ansible_collections.llama_fleet.core.tests.unit.module_runs import free_port
from llama_fleet.chat.connection import Guard, WrongServerError

CONNECTED = "connection.connect_tcp.complete"


class Stream:
    """A connection as the HTTP client hands it to its tracers."""

    def __init__(self, reached: socket.socket) -> None:
        self.reached = reached

    def get_extra_info(self, name: str) -> typing.Any:
        return self.reached if name == "socket" else None

    def close(self) -> None:
        self.reached.close()


def own() -> server_trust.Trust:
    process = processes.find(os.getpid())
    assert process
    return server_trust.Trust(process)


def test_nothing_is_asked_of_a_port_without_a_listener() -> None:
    with pytest.raises(ConnectionRefusedError), Guard("127.0.0.1", free_port(), 60, own()):
        pytest.fail("the request began")


def test_a_socket_that_was_replaced_meanwhile_is_closed_before_anything_is_sent() -> None:
    first = socket.create_server(("127.0.0.1", 0))
    port = first.getsockname()[1]
    with Guard("127.0.0.1", port, 60, own()) as guard:
        first.close()
        with socket.create_server(("127.0.0.1", port)), socket.create_connection(("127.0.0.1", port)) as reached:
            with pytest.raises(WrongServerError, match="its socket was replaced"):
                guard.trace(CONNECTED, {"return_value": Stream(reached)})
            assert reached.fileno() == -1


def test_other_steps_are_of_no_interest() -> None:
    with Guard("127.0.0.1", 1, 60) as guard:
        guard.trace("http11.send_request_headers.complete", {})
    assert not guard.is_over


def test_a_connection_ends_after_its_deadline() -> None:
    near, far = socket.socketpair()
    with near, far, Guard("127.0.0.1", 1, 0.05) as guard:
        guard.trace(CONNECTED, {"return_value": Stream(near)})
        near.settimeout(60)
        assert near.recv(1) == b""
        assert guard.is_over
