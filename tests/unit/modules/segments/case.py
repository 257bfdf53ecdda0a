# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""A file of segments at the test hub, and what its tests ask of a transfer."""

from __future__ import annotations

import dataclasses
import random
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.transfer.request import Manner, Origin, Wanted
from ansible_collections.llama_fleet.core.plugins.module_utils.transfer.segments import Received, fetch_all
from tests.hub import Hub, Logged

if typing.TYPE_CHECKING:
    import pathlib

NAME = "a-Q8_0.gguf"
SEGMENT = 1 << 18
COUNT = 12  # segments, the last one short
SIZE = (COUNT - 1) * SEGMENT + 12345
DATA = b"GGUF" + random.Random(1).randbytes(SIZE - 4)
QUICK = Manner(segment=SEGMENT, stall=20, longest_wait=0.2, backoff=0.01, tries=4)
IMPATIENT = dataclasses.replace(QUICK, stall=2, tries=1)
VARIABLE = "gguf_model_source"
TOKEN = {"Authorization": "Bearer hf_alice"}


def make_hub(root: pathlib.Path, data: bytes = DATA) -> Hub:
    for folder in ("files", "repos/owner/model", "repos/owner/gated"):
        (root / folder).mkdir(parents=True)
        (root / folder / NAME).write_bytes(data)
    (root / "repos" / "owner" / "gated" / ".hub.json").write_text('{"gated": true}', encoding="utf-8")
    (root / "accounts.json").write_text('{"hf_alice": "alice"}', encoding="utf-8")
    return Hub(root)


def repo(hub: Hub, name: str = "owner/model") -> Origin:
    """Return the origin of the file on the Hub: behind a redirect to its storage."""
    return Origin(f"{hub.url}/{name}/resolve/main/{NAME}", TOKEN)


def plain(hub: Hub) -> Origin:
    return Origin(f"{hub.url}/files/{NAME}")


def fetch(*wanted: Wanted, **more: typing.Any) -> Received:
    return fetch_all(wanted, VARIABLE, **{"manner": QUICK, **more})


def problem_of(*wanted: Wanted, **more: typing.Any) -> str:
    with pytest.raises(ProblemError) as caught:
        fetch(*wanted, **more)
    assert str(caught.value).count("\n") == 0
    return str(caught.value)


def assert_right(wanted: Wanted, data: bytes = DATA) -> None:
    assert wanted.part.read_bytes() == data
    assert [path.name for path in wanted.part.parent.iterdir()] == [wanted.part.name]


def assert_nothing_left(wanted: Wanted) -> None:
    assert list(wanted.part.parent.iterdir()) == []


def requests(hub: Hub, origin: str, status: int | None = None) -> list[Logged]:
    return [entry for entry in hub.settle() if entry.origin == origin and status in (None, entry.status)]
