# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Requests with short patience, and answers that lead elsewhere."""

from __future__ import annotations

import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch import ask as http_ask
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.ask import Patience
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.rules import OriginError
from ansible_collections.llama_fleet.core.tests.unit.raw_server import Asked, Peer, RawServer

QUICK = Patience(seconds=1.0, total=2.0, tries=3, backoff=0.01, longest_wait=0.05)
SECRET = {"Authorization": "Bearer secret"}
Serve = typing.Callable[..., RawServer]


def here(asked: Asked, peer: Peer) -> None:
    del asked
    peer.reply(200, b"here")


def to(target: str, status: int = 302) -> typing.Callable[[Asked, Peer], None]:
    return lambda _asked, peer: peer.reply(status, headers=[("Location", target)])


def read(url: str, patience: Patience = QUICK) -> bytes:
    return http_ask.read(url, 1 << 20, patience=patience).body


def refused(url: str, patience: Patience = QUICK) -> str:
    with pytest.raises(OriginError) as caught:
        read(url, patience)
    return f"{caught.value}{caught.value.limit}"


def failed(url: str) -> str:
    """Return how a request to ``url`` fails, as a message tells it."""
    with pytest.raises(OriginError) as caught:
        read(url)
    return http_ask.failure(url, caught.value) + caught.value.limit
