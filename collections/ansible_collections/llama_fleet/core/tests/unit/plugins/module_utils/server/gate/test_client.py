# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT

from __future__ import annotations

import socket

from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate import client as server_asking
from ansible_collections.llama_fleet.core.tests.unit.fakes.metrics_server import here

KEY = "s3cret-key"


def test_nobody_is_connected_to_where_nobody_listens() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        reply = server_asking.asker(f"http://127.0.0.1:{bound.getsockname()[1]}", here(KEY))("/health", None, 5)
    assert (reply.status, reply.text) == (0, "nothing listens on its port")
