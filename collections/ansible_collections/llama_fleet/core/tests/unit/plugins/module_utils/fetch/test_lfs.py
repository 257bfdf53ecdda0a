# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.lfs import pointer_sha256
from ansible_collections.llama_fleet.core.tests.unit.fakes.asking import to

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.tests.unit.fakes.asking import Serve

SUM = "5e" * 32
POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{SUM}\nsize 123\n"


@pytest.mark.parametrize(
    ("status", "body", "sha256"),
    [
        (200, POINTER, SUM),
        (200, f"{POINTER}x-more y\n", SUM),
        (404, POINTER, ""),
        (200, POINTER.replace("sha256", "md5"), ""),
        (200, POINTER.replace("5e", "5E"), ""),
        (200, f"GGUF\n{POINTER}", ""),
        (200, POINTER + "x" * 2000, ""),
        (200, "", ""),
    ],
)
def test_a_pointer(serve: Serve, status: int, body: str, sha256: str) -> None:
    server = serve(lambda _asked, peer: peer.reply(status, body.encode()))
    assert pointer_sha256(f"{server.url}/x", {"Authorization": "Bearer t"}) == sha256
    assert [asked.authorization for asked in server.asked] == ["Bearer t"]


def test_a_redirect_gets_no_token_and_silence_is_no_error(serve: Serve) -> None:
    there = serve(lambda _asked, peer: peer.reply(200, POINTER.encode()))
    first = serve(to(f"{there.url}/y"))
    assert pointer_sha256(f"{first.url}/x", {"Authorization": "Bearer t"}) == SUM
    assert [asked.authorization for asked in there.asked] == [""]
    assert pointer_sha256("http://127.0.0.1:9/x", {}) == ""
