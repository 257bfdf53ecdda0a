# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate import router
from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate.client import Reply


@pytest.mark.parametrize(
    ("data", "models"),
    [
        ([{"id": "a", "status": {"value": "loaded"}}, {"id": "b"}], {"a": "loaded", "b": ""}),
        ([{"id": "a", "status": None}], {"a": ""}),
        ([{"id": ""}], {}),
        ("a page", {}),
        (None, {}),
    ],
)
def test_only_models_of_a_sane_list_are_known(data: object, models: dict[str, str]) -> None:
    assert router.listed(Reply(200, {"data": data})) == models


def test_a_model_is_named_in_what_is_posted_and_in_nothing_else() -> None:
    asked: list[tuple[str, typing.Any, float]] = []

    def ask(path: str, payload: typing.Any, timeout: float) -> Reply:
        asked.append((path, payload, timeout))
        return Reply(200, {})

    ask_model = router.asker_of(ask, "a", loads=True)
    ask_model("/health", None, 1.0)
    ask_model("/completion", {"prompt": "x"}, 2.0)
    assert asked == [("/health", None, 1.0), ("/completion", {"prompt": "x", "model": "a"}, 2.0)]
    router.asker_of(ask, "a", loads=False)("/completion", {}, 3.0)
    assert asked[2] == ("/completion?autoload=false", {"model": "a"}, 3.0)
