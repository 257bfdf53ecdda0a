# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import json

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.files import ListedFile
from ansible_collections.llama_fleet.core.plugins.module_utils.preflight import network as preflight_network
from ansible_collections.llama_fleet.core.plugins.module_utils.preflight.listing import parse_listing
from ansible_collections.llama_fleet.core.plugins.module_utils.preflight.network import Place, Repo
from ansible_collections.llama_fleet.core.plugins.module_utils.preflight.web import Reply
from ansible_collections.llama_fleet.core.plugins.module_utils.untrusted import ShapeError
from ansible_collections.llama_fleet.core.tests.unit.fakes.preflight import HUB, Network
from ansible_collections.llama_fleet.core.tests.unit.fakes.site_network import leave_network

TREE = [
    {"type": "file", "path": "a/x.gguf", "size": 5},
    {"type": "file", "path": "README.md", "size": 1},
    {"type": "directory", "path": "b.gguf"},
]
ABOUT = {"id": "a/b", "siblings": [{"rfilename": "x.GGUF", "size": 7}, {"rfilename": "y.gguf"}, {"rfilename": "z.md"}]}


def test_a_tree() -> None:
    assert parse_listing(json.dumps(TREE).encode()) == ([ListedFile("a/x.gguf", 5)], 3)


def test_the_description_of_a_repository() -> None:
    assert parse_listing(json.dumps(ABOUT).encode()) == ([ListedFile("x.GGUF", 7), ListedFile("y.gguf", 0)], 0)


@pytest.mark.parametrize(
    "document",
    [
        [{"type": "file", "path": "../x.gguf"}],
        {"siblings": [{"rfilename": "/x.gguf"}]},
        {"siblings": [{"rfilename": 5}]},
        {"siblings": {}},
        [{"type": "file", "path": "x.gguf", "size": -1}],
        "text",
    ],
)
def test_no_listing(document: object) -> None:
    with pytest.raises(ShapeError):
        parse_listing(json.dumps(document).encode())


@pytest.mark.parametrize("query", ["?blobs=true", ""])
@pytest.mark.parametrize("status", [400, 404, 405, 501])
def test_a_cache_that_knows_no_listing(monkeypatch: pytest.MonkeyPatch, status: int, query: str) -> None:
    leave_network(monkeypatch)
    network, place = Network(), Place("hub", "gguf_model_endpoint", HUB)
    about = f"{HUB}/api/models/a/b/revision/main"
    siblings = [{"rfilename": "m-Q4_K_M.gguf", "size": 4_000_000} if query else {"rfilename": "m-Q4_K_M.gguf"}]
    network.replies.update(
        {
            f"{HUB}/api/models/a/b/tree/main": Reply(status),
            about: Reply(404),
            about + query: Reply(200, json.dumps({"siblings": siblings}).encode()),
            f"{about}?": Reply(404),
            f"{about}{query or '?none'}": Reply(200, json.dumps({"siblings": siblings}).encode()),
            f"{HUB}/a/b/resolve/main/": Reply(206, size=4_000_000),
        }
    )
    answer = preflight_network.hub(network, place, Repo("a/b", "main", "", ""))
    assert (answer.check.severity, answer.check.found, answer.size) == (
        "ok",
        f"{HUB} answers; 'a/b' has Q4_K_M, 4 MB",
        4_000_000,
    )
