# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Ask a router about its models, and ask one of them."""

from __future__ import annotations

import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.untrusted import Many, Maybe, Record, Text, lenient

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate.client import Ask, Reply

_MODELS = Many(Record({"id": Text(".+")}, {"status": Maybe(Record(optional={"value": Text()}))}))


def listed(reply: Reply) -> dict[str, str]:
    """Return the status of each model that the router knows, by its name."""
    return {
        model["id"]: (model.get("status") or {}).get("value", "")
        for model in lenient(reply.body.get("data"), _MODELS, [])
    }


def asker_of(ask: Ask, model: str, loads: bool) -> Ask:
    """Return a function that asks the router for one of its models, which it loads only if ``loads``."""
    query = "" if loads else "?autoload=false"

    def ask_model(path: str, payload: typing.Mapping[str, typing.Any] | None, timeout: float) -> Reply:
        return ask(f"{path}{query}", payload if payload is None else {**payload, "model": model}, timeout)

    return ask_model
