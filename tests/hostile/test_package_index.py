# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""A package index that sends other bytes than those that are pinned."""

from __future__ import annotations

import hashlib
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch import download
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch import index as package_index
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.pinned import Package
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError
from tests.hub import Fault

if typing.TYPE_CHECKING:
    import pathlib

    from tests.hub import Hub

NAME = "tool-1.0-py3-none-any.whl"
BYTES = bytes(range(256)) * 1024
SHA256 = hashlib.sha256(BYTES).hexdigest()
# What the index does with the file, and a word of the sentence that has to come of it; empty where the right bytes
# arrive all the same.
BEHAVIOURS = {
    "one bit is another": (Fault(flip_at=1000), "sha256"),
    "a page for people": (Fault(html=True), "an HTML page instead of the file"),
    "a pointer of git": (Fault(pointer=True), "sha256"),
    "a byte too few": (Fault(size=len(BYTES) - 1), "sha256"),
    "a byte too many": (Fault(size=len(BYTES) + 1), "sha256"),
    "nothing": (Fault(size=0), "sha256"),
    "broken off once": (Fault(cut_at=1000), ""),
    "reset twice": (Fault(reset_at=1000, resets=2), ""),
    "no ranges, broken off": (Fault(cut_at=1000, ranges=False), ""),
    "forbidden": (Fault(status=403, times=99), "403"),
}


def test_no_behaviour_is_lost() -> None:
    assert len(BEHAVIOURS) == 10


@pytest.mark.parametrize("name", BEHAVIOURS)
@pytest.mark.usefixtures("outside")
def test_the_pinned_bytes_or_one_sentence(name: str, hub: Hub, tmp_path: pathlib.Path) -> None:
    fault, word = BEHAVIOURS[name]
    (hub.root / "simple").mkdir(parents=True)
    (hub.root / "simple" / NAME).write_bytes(BYTES)
    file = package_index.find_by_sha256(f"{hub.url}/simple", Package("tool", "1.0"), SHA256, "index_url")
    hub.faults[NAME] = fault
    target = tmp_path / "kept" / NAME
    if word:
        with pytest.raises(ProblemError, match=word) as caught:
            download.fetch(file.url, target, SHA256, "index_url", most=1 << 20)
        assert len(caught.value.problems) == 1
        assert not target.exists()
    else:
        download.fetch(file.url, target, SHA256, "index_url", most=1 << 20)
        assert target.read_bytes() == BYTES
