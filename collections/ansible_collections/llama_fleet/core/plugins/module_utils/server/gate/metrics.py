# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Ask a running llama-server for its health, slots and counters by HTTP, with a short time limit."""

from __future__ import annotations

import dataclasses
import http.client
import re
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate import client as server_asking
from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate.client import LARGEST
from ansible_collections.llama_fleet.core.plugins.module_utils.untrusted import Flag, Many, Record, ShapeError
from ansible_collections.llama_fleet.core.plugins.module_utils.untrusted import parse as parse_json

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate import trust as server_trust

__all__ = ["LARGEST", "Fetch", "Reply", "Report", "ask", "fetcher", "parse"]

# Seconds per request. A busy server answers all of these between two tokens.
LIMIT = 5.0
_OK, _ERROR, _UNAUTHORIZED, _LOADING = 200, 400, 401, 503
_PROPERTIES = Record(optional={"is_sleeping": Flag()})
_SLOTS = Many(Record(optional={"is_processing": Flag()}))
_PREFIX = "llamacpp:"
_SAMPLE = re.compile(r"(?P<name>[A-Za-z_:][A-Za-z0-9_:]*)(?:\{[^}]*\})?\s+(?P<value>\S+)(?:\s+\d+)?")


@dataclasses.dataclass(frozen=True)
class Reply:
    """A reply; ``status`` is 0 if there was no answer in time."""

    status: int
    text: str = ""


Fetch = typing.Callable[[str], Reply]


@dataclasses.dataclass(frozen=True)
class Report:
    """A server's report of its load. Unknown numbers are -1."""

    health: str = ""  # ok, loading, sleeping, or the reason why it is none of them
    slots: int = -1
    slots_busy: int = -1
    requests_deferred: int = -1
    tokens_predicted: int = -1
    tokens_per_second: float = -1.0
    prompt_tokens_per_second: float = -1.0
    silent: tuple[str, ...] = ()  # the paths that gave no figures, and why


def fetcher(base: str, trust: server_trust.Trust | None = None, limit: float = LIMIT) -> Fetch:
    """Return a Fetch for the server at ``base``. A server that is not the instance counts as silent."""

    def fetch(path: str) -> Reply:
        try:
            status, body = server_asking.exchange(base, path, None, limit, trust)
        except (OSError, ValueError, http.client.HTTPException) as error:
            return Reply(0, str(error))
        return Reply(status, body.decode("utf-8", "replace") if status < _ERROR else "")

    return fetch


def ask(fetch: Fetch, metrics: bool = True, may_sleep: bool = False) -> Report:
    """Ask the server for its report. If it does not answer the first request, no other is sent.

    ``may_sleep`` is for a server that unloads its model when idle: it is asked for nothing that wakes it or keeps it
    awake, so that its slots are unknown.
    """
    health = _health(fetch("/health"))
    unsure = ""
    if health == "ok" and may_sleep:
        health, unsure = _sleep(fetch("/props"))
    if health != "ok" or unsure or not metrics:
        return Report(health, silent=(unsure,) if unsure else ())
    # llama-server counts a question for /slots as use; /metrics neither wakes it nor keeps it awake.
    slots, no_slots = ({}, "") if may_sleep else _slots(fetch("/slots"))
    counters, no_counters = _counters(fetch("/metrics"))
    busy = slots.get("slots_busy", int(counters.get("requests_processing", -1)))
    return Report(
        health=health,
        slots=slots.get("slots", -1),
        slots_busy=busy,
        requests_deferred=int(counters.get("requests_deferred", -1)),
        tokens_predicted=int(counters.get("tokens_predicted_total", -1)),
        tokens_per_second=round(counters.get("predicted_tokens_seconds", -1.0), 2),
        prompt_tokens_per_second=round(counters.get("prompt_tokens_seconds", -1.0), 2),
        silent=tuple(filter(None, (no_slots, no_counters))),
    )


def _health(reply: Reply) -> str:
    if reply.status == _OK:
        return "ok"
    if reply.status == _LOADING:
        return "loading"
    return f"/health answered {reply.status}" if reply.status else f"no response from /health: {reply.text}"


def _sleep(reply: Reply) -> tuple[str, str]:
    """Return ok or sleeping, and why it is not known which."""
    try:
        properties = parse_json(reply.text, _PROPERTIES, "/props", LARGEST) if reply.status == _OK else None
    except ShapeError:
        properties = None
    if properties is None:
        return "ok", _silence("/props", reply)
    return "sleeping" if properties.get("is_sleeping") else "ok", ""


def _slots(reply: Reply) -> tuple[dict[str, int], str]:
    try:
        slots = parse_json(reply.text, _SLOTS, "/slots", LARGEST) if reply.status == _OK else None
    except ShapeError:
        slots = None
    if slots is None:
        return {}, _silence("/slots", reply)
    return {"slots": len(slots), "slots_busy": sum(1 for slot in slots if slot.get("is_processing"))}, ""


def _counters(reply: Reply) -> tuple[dict[str, float], str]:
    if reply.status != _OK:
        return {}, _silence("/metrics", reply)
    return parse(reply.text), ""


def _silence(path: str, reply: Reply) -> str:
    why = "needs a key that cannot be read here" if reply.status == _UNAUTHORIZED else f"answered {reply.status}"
    return f"{path} {why if reply.status else 'was not answered'}"


def parse(text: str) -> dict[str, float]:
    """Parse the samples of Prometheus's text format whose name begins with ``llamacpp:``; the prefix is removed.

    Values that are not finite numbers are left out.
    """
    samples = {}
    for line in text.splitlines():
        sample = _SAMPLE.fullmatch(line.strip())
        if not sample or not sample["name"].startswith(_PREFIX):
            continue
        try:
            value = float(sample["value"])
        except ValueError:
            continue
        if value - value == 0:  # neither NaN nor infinite
            samples[sample["name"][len(_PREFIX) :]] = value
    return samples
