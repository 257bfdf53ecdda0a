# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Wait, up to a limit, until a server that is to be stopped has no requests left, and count those that are cut.

On SIGTERM llama-server closes its listener, cancels its requests and does not end while a client stays connected, so
waiting then is of no use. While it is drained it also serves new clients, because it cannot turn only those away. The
limit therefore applies however busy it is.
"""

from __future__ import annotations

import dataclasses
import typing
import urllib.parse

from ansible_collections.llama_fleet.core.plugins.module_utils import untrusted
from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate import metrics as server_metrics
from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate.gate import Clock
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import router as server_router

# Seconds between two questions: asked more often, llama-server keeps a request running whose client has left.
PAUSE = 2.0
# The number of requests where the server does not tell it.
UNKNOWN = -1
_OK, _LOADING = 200, 503
_PROPERTIES = untrusted.Record({}, {"role": untrusted.Text(most=40), "is_sleeping": untrusted.Flag()})
_STATUS = untrusted.Record({}, {"value": untrusted.Text(most=40)})
_MODELS = untrusted.Record({"data": untrusted.Many(untrusted.Record({"id": untrusted.Text()}, {"status": _STATUS}))})


@dataclasses.dataclass(frozen=True)
class Drained:
    """The numbers of requests ``in_flight`` at the begin of a drain and ``cut`` at its end; UNKNOWN if not told."""

    in_flight: int = 0
    cut: int = 0

    @property
    def warning(self) -> str:
        """Return a warning about the requests that were cut; empty if there were none."""
        if self.cut <= 0:
            return ""
        requests = "1 request was" if self.cut == 1 else f"{self.cut} requests were"
        return (
            f"{requests} cut, for the server was still busy after llama_server_drain_timeout; raise that, or keep "
            f"new clients away before a change"
        )


@dataclasses.dataclass(frozen=True)
class Patience:
    """Seconds that a drain may take, and the clock that counts them."""

    seconds: float
    clock: Clock = dataclasses.field(default_factory=Clock)


def drain(
    fetch: server_metrics.Fetch,
    patience: Patience,
    alive: typing.Callable[[], bool],
    report: typing.Callable[[int, int], None],
) -> Drained:
    """Wait until nothing is in flight.

    Call ``report`` with the number of requests and the seconds left before each wait. Do not wait for a
    server that does not answer, sleeps or tells nothing, and wake none.
    """
    clock = patience.clock
    end = clock.now() + patience.seconds
    first = count = _busy(fetch)
    last = count if count is not None else UNKNOWN
    while count and clock.now() < end and alive():
        report(last, max(0, round(end - clock.now())))
        clock.pause(min(PAUSE, max(0.0, end - clock.now())))
        count = _busy(fetch)
        # One that computes a long prompt answers late: what it said before stands.
        last = last if count is None or count == UNKNOWN else count
    gone = not alive()
    return Drained(UNKNOWN if first is None else first, 0 if gone else last)


def _busy(fetch: server_metrics.Fetch) -> int | None:
    """Return the number of requests that run or wait; UNKNOWN if it is not told this time, None if it never will be."""
    reply = fetch("/props")
    if reply.status == _LOADING:
        return 0
    try:
        properties = (
            untrusted.parse(reply.text, _PROPERTIES, "/props", server_metrics.LARGEST) if reply.status == _OK else None
        )
    except untrusted.ShapeError:
        properties = None
    if properties is None:
        return None
    if properties.get("is_sleeping"):
        return 0
    return _router(fetch) if properties.get("role") == server_router.MODE else _server(fetch)


def _server(fetch: server_metrics.Fetch) -> int | None:
    telling = server_metrics.ask(fetch)
    if telling.slots_busy >= 0:
        return telling.slots_busy + max(0, telling.requests_deferred)
    # Where both are switched off, or want another key, the next answer is the same.
    return UNKNOWN if any("was not answered" in silence for silence in telling.silent) else None


def _router(fetch: server_metrics.Fetch) -> int | None:
    """Return the same for all models that are loaded: a question would load another one, which has no requests."""
    reply = fetch("/v1/models")
    try:
        models = (
            untrusted.parse(reply.text, _MODELS, "/v1/models", server_metrics.LARGEST)["data"]
            if reply.status == _OK
            else []
        )
    except untrusted.ShapeError:
        return None
    loaded = [model["id"] for model in models if model.get("status", {}).get("value") == "loaded"]
    counts = [_server(_of_model(fetch, name)) for name in loaded]
    known = [count for count in counts if count is not None]
    return None if loaded and not known else UNKNOWN if UNKNOWN in known else sum(known)


def _of_model(fetch: server_metrics.Fetch, name: str) -> server_metrics.Fetch:
    query = urllib.parse.urlencode({"model": name, "autoload": "false"})
    return lambda path: fetch(path if path == "/health" else f"{path}?{query}")
