# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Test which instances of a host are planned once more with the answer of the release API."""

from __future__ import annotations

import json
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.action import plan_info
from ansible_collections.llama_fleet.core.tests.unit.fakes.release_api import ReleaseApi, release_api

if typing.TYPE_CHECKING:
    import pathlib

Arguments = dict[str, typing.Any]
GIT = "git+https://github.com/ggml-org/llama.cpp"


@pytest.fixture
def api(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> typing.Iterator[ReleaseApi]:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    with release_api() as fake:
        fake.nightly("b1000", x64=b"programs")
        yield fake


class Planner(plan_info.ActionModule):
    """An action that plans all instances at once, reduced to what it asks for."""

    def __init__(self) -> None:
        """Need nothing of Ansible."""


@pytest.mark.parametrize(
    ("plan", "asks"),
    [
        (
            {
                "nvidia_driver": {"backend": "cpu"},
                "llama_cpp": {"would_compile": True, "commit": "1" * 40, "build": "b1000"},
            },
            True,
        ),
        ({"nvidia_driver": {"backend": "cpu"}, "llama_cpp": {}, "failed": {"msg": "no compiler"}}, True),
        ({"nvidia_driver": {"backend": "cpu"}, "llama_cpp": {"would_change": True, "path": "/x"}}, False),
        ({"nvidia_driver": {}, "llama_cpp": {}, "failed": {"msg": "no driver"}}, False),
        ({"nvidia_driver": {"backend": "cpu"}, "llama_cpp": {"would_change": False}}, False),
    ],
)
def test_one_call_for_all_stages_asks_only_for_what_would_be_built(
    api: ReleaseApi, tmp_path: pathlib.Path, plan: Arguments, asks: bool
) -> None:
    release = {"source": GIT, "upstream_api": api.api, "upstream_url": api.downloads, "cache": ["/x"]}
    release["asks_first"] = True
    arguments: dict[str, dict[str, Arguments]] = {"one": {"llama_cpp": release}, "stopped": {"llama_server": {}}}
    again = Planner()._ask_for_binaries(arguments, {"plans": {"one": plan}}, {"inventory_dir": str(tmp_path)})
    assert (list(again), len(api.asked)) == (["one"] if asks else [], 2 if asks else 0)
    if asks:
        second = again["one"]["llama_cpp"]
        assert (bool(second["published"]), second["asks_first"]) == (True, False)
        # A second plan asks neither the repository nor the caches again, unless the first one failed.
        assert (second.get("known"), second["cache"]) == (
            (None, ["/x"])
            if "failed" in plan
            else (json.dumps({"commit": "1" * 40, "build": "b1000", "nightly": "", "parts": {}}), [])
        )
        assert not Planner()._ask_for_binaries(again, {"plans": {"one": plan}}, {"inventory_dir": str(tmp_path)})


def test_a_second_plan_replaces_the_first_of_its_instances_only() -> None:
    first = {"plans": {"a": 1, "b": 1}, "has_several": True, "warnings": ["x"]}
    merged = plan_info._merged(first, {"plans": {"b": 2}, "has_several": False, "warnings": ["y"]})
    assert merged == {"plans": {"a": 1, "b": 2}, "has_several": True, "warnings": ["x", "y"]}
    assert plan_info._merged(first, {"failed": True, "msg": "gone"}) == {"failed": True, "msg": "gone"}
