# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.server.status.verdict import errors


def _facts(state: str, *drift: str) -> dict[str, object]:
    return {"instance": "chat", "state": state, "drift": list(drift), "unknown": ["/slots answered 501"]}


@pytest.mark.parametrize("state", ["running", "sleeping", "stopped"])
def test_an_instance_that_runs_sleeps_or_was_stopped_is_as_wanted(state: str) -> None:
    assert errors([_facts(state)]) == []


@pytest.mark.parametrize("state", ["loading", "unresponsive", "failed", "absent", "invented"])
def test_any_other_state_is_an_error(state: str) -> None:
    assert errors([_facts("running"), _facts(state)]) == [f"chat: {state}"]


def test_each_drift_is_an_error() -> None:
    assert errors([_facts("failed", "a", "b")]) == ["chat: failed", "chat: a", "chat: b"]


def test_a_host_without_an_instance_is_not_as_wanted() -> None:
    assert errors([]) == ["no instance"]
