# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""A Hub that answers as it likes: the right bytes come, or one sentence that names the cause."""

from __future__ import annotations

import contextlib
import functools
import json
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch import ask as http_ask
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch import rules as origins
from ansible_collections.llama_fleet.core.plugins.module_utils.model import hub_transport
from ansible_collections.llama_fleet.core.plugins.module_utils.model.stage import ARGUMENTS
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.transfer import request, segments
from ansible_collections.llama_fleet.core.tests.unit.raw_server import Asked, Peer, RawServer
from tests.hostile.hub_acts import Hostile
from tests.hostile.hub_answers import ANSWERS
from tests.hostile.hub_contents import CONTENTS
from tests.hostile.hub_rows import CONTENT, NAME, Row
from tests.unit.modules.gguf_model.case import SHARDS, TOKEN, Result, call, weights

if typing.TYPE_CHECKING:
    import pathlib

    from tests.hub import Hub


MOST_REQUESTS = 60  # of one run; what is asked without an end has far more
BEHAVIOURS = {**ANSWERS, **CONTENTS}


def test_no_behaviour_is_lost() -> None:
    assert len(BEHAVIOURS) == 199


def _stranger(asked: Asked, peer: Peer) -> None:
    """Answer as a third origin: it has the file, another one of the same size, and an empty listing."""
    content = {"/right": CONTENT, "/wrong": b"GGUF".ljust(len(CONTENT), b"x")}.get(asked.path)
    if content is not None:
        last = min(int(asked.headers["range"].rpartition("-")[2]), len(content) - 1)
        peer.reply(
            206, content[asked.first : last + 1], [("Content-Range", f"bytes {asked.first}-{last}/{len(content)}")]
        )
    elif asked.path == "/empty":
        peer.reply(200, b"[]", [("Content-Type", "application/json")])
    else:
        peer.reply(403)


@pytest.fixture
def stranger(hub: Hub) -> typing.Iterator[RawServer]:
    with RawServer(_stranger, "127.0.0.2").serving() as server:
        setattr(hub, "stranger", server)  # noqa: B010 - the Hub itself knows no third origin
        yield server


@pytest.fixture
def wanted(hub: Hub, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Result:
    """Parameters that take a model of the hub with a token, and little patience."""
    folder = hub.root / "repos" / "owner" / "gated"
    folder.mkdir(parents=True)
    for name in (NAME, *SHARDS):
        (folder / name).write_bytes(weights(name, len(CONTENT)))
    (folder / ".hub.json").write_text('{"gated": true, "granted": ["alice"]}', encoding="utf-8")
    (hub.root / "accounts.json").write_text(json.dumps({TOKEN: "alice"}), encoding="utf-8")
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(
        http_ask, "USUAL", http_ask.Patience(seconds=1.0, total=3.0, tries=3, backoff=0.01, longest_wait=0.05)
    )
    manner = request.Manner(segment=1 << 17, stall=1.0, longest_wait=0.05, backoff=0.01, tries=3)
    monkeypatch.setattr(segments, "fetch_all", functools.partial(segments.fetch_all, manner=manner))
    monkeypatch.setattr(hub_transport, "MOST_REQUESTS", 30)
    return {
        **{name: argument.get("default") for name, argument in ARGUMENTS.items()},
        "source": "owner/gated",
        "token": TOKEN,
        "endpoint": hub.url,
        "root": str(tmp_path / "root"),
        "instances": str(tmp_path / "etc"),
        "progress_file": str(tmp_path / "progress"),
    }


@pytest.mark.parametrize("name", BEHAVIOURS)
def test_the_right_bytes_or_one_sentence(
    name: str,
    hub: Hub,
    wanted: Result,
    stranger: RawServer,
    outside: pathlib.Path,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    row = BEHAVIOURS[name]
    if row.public:
        monkeypatch.setattr(origins.Road, "is_private", False)
    hub.hostile = hostile = Hostile(row.phase, row.act, row.times)
    said: list[str] = []
    with contextlib.suppress(ProblemError) if row.word else contextlib.nullcontext():
        try:
            call(wanted, quant=row.quant)
        except ProblemError as error:
            said = [str(problem) for problem in error.problems]
            raise
    log = hub.settle()
    hostile.require_played()
    _assert_outcome(row, said, tmp_path)
    assert len(log) + len(stranger.asked) <= MOST_REQUESTS
    assert [each.path for each in log if each.origin == "storage" and each.authorized] == []
    assert [each.path for each in stranger.asked if TOKEN in each.authorization] == []
    assert {path.name for path in tmp_path.iterdir()} <= {"hub", "outside", "root", "etc", "progress"}, (
        "another file was made"
    )
    assert outside.is_dir()


def _assert_outcome(row: Row, said: list[str], tmp_path: pathlib.Path) -> None:
    """Assert the right bytes and no message, or one sentence for a terminal and no model."""
    models = [path for path in (tmp_path / "root" / "models").rglob("*.gguf") if path.is_file()]
    assert {path.read_bytes() for path in models} <= {CONTENT, *(weights(name, len(CONTENT)) for name in SHARDS)}
    if not row.word:
        assert [path.name for path in models] == [NAME]
        assert models[0].read_bytes() == CONTENT
        return
    assert models == []
    (sentence,) = said
    assert any(word in sentence for word in row.word.split("|")), sentence
    assert sentence.isprintable()
    assert TOKEN not in sentence
    assert "Traceback" not in sentence
    assert len(sentence) < 2000
