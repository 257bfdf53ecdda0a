# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Caches in front of the Hub that answer in their own manner: they cost requests, and not the model."""

from __future__ import annotations

import hashlib
import pathlib
import typing
import urllib.parse

import pytest

from tests.unit.modules.gguf_model.case import REPO, SHARDS, SIZE, TOKEN, Result, call, problem, weights

if typing.TYPE_CHECKING:
    from tests.hub import Hub
    from tests.hub.handler import Handler

Manner = typing.Callable[["Handler", str], bool]


def no_tree(status: int) -> Manner:
    """Answer listings with ``status``: Artifactory and Nexus do not have them in all versions."""

    def answer(handler: Handler, path: str) -> bool:
        if "/tree/" in path:
            handler.answer(status, b'{"errors":[{"status":404,"message":"Unsupported"}]}')
        return "/tree/" in path

    return answer


def no_query(handler: Handler, path: str) -> bool:
    """Refuse requests with a query as unknown too."""
    refused = "/tree/" in path or ("/api/" in path and "?" in handler.path)
    if refused:
        handler.answer(404, b"{}")
    return refused


def no_head(handler: Handler, _path: str) -> bool:
    if handler.command == "HEAD":
        handler.answer(405)
    return handler.command == "HEAD"


def inline(handler: Handler, path: str) -> bool:
    """Follow the Hub's redirects itself, and pass on none of its headers; listings have no sums either.

    A pointer is the only place that has the sum.
    """
    parts = path.strip("/").split("/")
    if "/tree/" in path:
        entries = [{"type": "file", "path": name, "oid": "0" * 40, "size": SIZE} for name in [*SHARDS, "x.txt"]]
        handler.answer_json(entries)
        return True
    if len(parts) < 5 or parts[2] not in ("resolve", "raw"):
        return False
    body = weights(parts[4])
    if parts[2] == "raw":
        oid = hashlib.sha256(body).hexdigest()
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {len(body)}\n"
        handler.answer(200, pointer.encode())
    else:
        handler.answer(200, body, {"ETag": '"d41d8cd98f00b204e9800998ecf8427e"'})
    return True


@pytest.mark.parametrize("manner", [no_tree(404), no_tree(400), no_tree(405), no_tree(501), no_query, no_head, inline])
def test_the_model_comes(hub: Hub, wanted: Result, manner: Manner) -> None:
    hub.hostile = manner
    done = call(wanted, quant="Q4_K_M")
    assert (done["changed"], done["revision"]) == (True, hub.repos.commit(REPO))
    assert [pathlib.Path(file["path"]).read_bytes() for file in done["files"]] == [weights(name) for name in SHARDS]
    assert not call(wanted, quant="Q4_K_M")["changed"]


def test_sizes_that_are_known_are_not_asked_for(hub: Hub, wanted: Result) -> None:
    hub.hostile = no_tree(404)
    call(wanted, check_mode=True)
    paths = [urllib.parse.urlsplit(entry.path).path for entry in hub.settle()]
    assert len([path for path in paths if "/resolve/" in path and "Q8_0" in path]) == 0
    assert len([path for path in paths if "/revision/" in path]) == 2


def test_a_gated_repository_is_asked_with_its_token_only_there(hub: Hub, wanted: Result) -> None:
    hub.hostile = no_query
    assert "is gated" in problem(wanted, source="owner/gated")
    assert call(wanted, source="owner/gated", token=TOKEN)["changed"]
    assert {entry.authorized for entry in hub.settle() if entry.origin == "storage"} == {False}


@pytest.mark.parametrize("repo", ["owner/nothing", "nobody/nothing"])
def test_no_such_repository(hub: Hub, wanted: Result, repo: str) -> None:
    hub.hostile = no_query
    assert "which is not on" in problem(wanted, source=repo)


def test_a_sum_that_nobody_states(hub: Hub, wanted: Result) -> None:
    def answer(handler: Handler, path: str) -> bool:
        if "/raw/" in path:
            handler.answer(404)
            return True
        return inline(handler, path)

    hub.hostile = answer
    assert "without a sha256 on the Hub" in problem(wanted)


def test_a_name_that_leads_outside(hub: Hub, wanted: Result) -> None:
    def answer(handler: Handler, path: str) -> bool:
        if "/revision/" in path:
            siblings = [{"rfilename": "../../x.gguf"}]
            handler.answer_json({"id": REPO, "sha": hub.repos.commit(REPO), "siblings": siblings})
            return True
        return no_tree(404)(handler, path)

    hub.hostile = answer
    assert "that no Hub gives" in problem(wanted)
