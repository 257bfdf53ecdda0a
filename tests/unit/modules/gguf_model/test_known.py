# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The files that a plan has found on the Hub, handed to the module: counted at the test hub."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from ansible_collections.llama_fleet.core.plugins.action.gguf_model import known_files
from tests.unit.modules.gguf_model.case import REPO, Result, call, requests_during

if TYPE_CHECKING:
    from tests.hub import Hub


def listings(hub: Hub) -> list[str]:
    return [entry.path for entry in hub.settle() if entry.path.startswith("/api/models/")]


def test_a_plan_and_its_module_ask_for_the_listing_once(hub: Hub, wanted: Result) -> None:
    plan = call(wanted, plan_only=True)
    before = listings(hub)
    assert before
    known = known_files(plan)
    made = call(wanted, known=known)
    assert made["changed"]
    assert made["downloaded"] == plan["size"]
    assert [file["sha256"] for file in made["files"]] == [file["sha256"] for file in plan["files"]]
    assert listings(hub) == before, "the module asks for no listing"
    assert requests_during(hub, lambda: call(wanted, known=known)) == 0
    assert call(wanted, plan_only=True)["would_change"] is False


@pytest.mark.parametrize(
    "known",
    [
        "x",
        "{}",
        json.dumps({"revision": "main", "quant": "", "mmproj": False, "files": []}),
        json.dumps({"revision": "1" * 40, "quant": "", "mmproj": False, "files": []}),
        json.dumps(
            {
                "revision": "1" * 40,
                "quant": "",
                "mmproj": False,
                "files": [{"name": "../m.gguf", "size": 1, "sha256": "a" * 64}],
            }
        ),
    ],
)
def test_what_is_no_plan_is_asked_for_again(hub: Hub, wanted: Result, known: str) -> None:
    made = call(wanted, known=known)
    assert (made["changed"], made["revision"]) == (True, hub.repos.commit(REPO))


def test_a_changed_sum_is_refused(wanted: Result) -> None:
    plan = call(wanted, plan_only=True)
    known = json.loads(known_files(plan))
    known["files"][0]["sha256"] = "0" * 64
    with pytest.raises(Exception, match="sha256"):
        call(wanted, known=json.dumps(known))


@pytest.mark.parametrize(
    "changed",
    [
        {"lora": ["/x.gguf"]},
        {"draft": "/x.gguf"},
        {"memory": {"mib": 1}},
        {"failed": True},
        {"revision": ""},
        {"plan": {"folder": "/elsewhere"}},
        {"plan": {}},
        {"files": []},
    ],
)
def test_only_a_plan_of_one_model_is_handed_on(wanted: Result, changed: Result) -> None:
    plan = call(wanted, plan_only=True)
    assert known_files(plan)
    assert known_files({**plan, **changed}) == ""
