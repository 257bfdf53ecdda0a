# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test how a connection tries the addresses of a host."""

from __future__ import annotations

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch import rules
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.clock import Limits
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.pool import Pool
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.rules import BrokenError, Road


def test_many_addresses_that_swallow_packets_share_one_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[float | None] = []

    class Silent:
        def settimeout(self, seconds: float) -> None:
            limits.append(seconds)

        def connect(self, _place: object) -> None:
            raise TimeoutError("timed out")

        def close(self) -> None:
            pass

    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(rules, "resolve", lambda host, port: [(2, 1, 6, "", (host, port))] * 50)
    monkeypatch.setattr("socket.socket", lambda *_given: Silent())
    with pytest.raises(BrokenError, match="timed out"):
        Pool(Limits(60)).ask(Road("http://127.0.0.1:9/").begin(), {})
    assert len(limits) == 50
    assert limits[0] == pytest.approx(20 / 50, rel=0.1)
