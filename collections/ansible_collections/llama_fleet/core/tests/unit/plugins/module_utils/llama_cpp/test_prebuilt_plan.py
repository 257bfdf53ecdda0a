# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test the plans of releases that were built elsewhere; nothing is fetched for a plan."""

from __future__ import annotations

import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp import prebuilt_plan, upstream
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.request import (
    ARGUMENTS,
    Request,
    parse_request,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.source import PackedSource, Upstream
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError

if typing.TYPE_CHECKING:
    import pathlib

SUM = "ab" * 32


def request(root: pathlib.Path, source: str, **parameters: typing.Any) -> Request:
    defaults = {name: option.get("default") for name, option in ARGUMENTS.items()}
    return parse_request({**defaults, "source": source, "root": str(root), **parameters})


def test_a_packed_release_that_is_not_there(tmp_path: pathlib.Path) -> None:
    wanted = request(tmp_path, f"release+{tmp_path}/b1-0c1e57098a3f.tar.zst")
    with pytest.raises(ProblemError, match="expected a packed release on the host, found no file"):
        prebuilt_plan.packed(wanted, typing.cast("PackedSource", wanted.source))


def test_published_binaries_are_known_by_their_checksums(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upstream, "libc", lambda: "glibc 2.41")
    plans = [
        prebuilt_plan.published(request(tmp_path, f"upstream:b1#sha256={SUM}"), Upstream("b1", each, runtime))
        for each, runtime in ((SUM, ""), (SUM, "cd" * 32), ("ef" * 32, ""))
    ]
    assert len({plan.fingerprint for plan in plans}) == 3
    assert {str(plan.path) for plan in plans} == {
        str(tmp_path / "releases" / f"b1-{plan.fingerprint[:12]}") for plan in plans
    }
