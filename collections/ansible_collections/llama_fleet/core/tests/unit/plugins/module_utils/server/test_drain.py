# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The wait for a server's requests in flight: within its timeout, and skipped where it is of no use."""

from __future__ import annotations

import json

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.server import drain as server_drain
from ansible_collections.llama_fleet.core.plugins.module_utils.server.drain import UNKNOWN, Drained, Patience
from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate.gate import Clock
from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate.metrics import Reply

SILENT = Reply(0, "timed out")


def counters(processing: int, deferred: int = 0) -> Reply:
    return Reply(200, f"llamacpp:requests_processing {processing}\nllamacpp:requests_deferred {deferred}\n")


def slots(busy: int) -> Reply:
    return Reply(200, json.dumps([{"is_processing": number < busy} for number in range(4)]))


class Server:
    """A server whose pages the test writes, the next of a list with each question, and a clock that only waiting
    moves.
    """

    def __init__(self, **pages: Reply | list[Reply]) -> None:
        usual: dict[str, Reply | list[Reply]] = {
            "props": Reply(200, "{}"),
            "health": Reply(200),
            "slots": slots(0),
            "metrics": counters(0),
        }
        self.pages = {**usual, **pages}
        self.asked: list[str] = []
        self.told: list[tuple[int, int]] = []
        self.time = 0.0
        self.dies_at = float("inf")

    def fetch(self, path: str) -> Reply:
        self.asked.append(path)
        page = self.pages[path.partition("?")[0].rpartition("/")[2]]
        if isinstance(page, Reply):
            return page
        return page.pop(0) if len(page) > 1 else page[0]

    def pause(self, seconds: float) -> None:
        assert seconds > 0
        self.time += seconds

    def drain(self, seconds: float = 30) -> Drained:
        patience = Patience(seconds, Clock(lambda: self.time, self.pause))
        return server_drain.drain(
            self.fetch, patience, lambda: self.time < self.dies_at, lambda count, left: self.told.append((count, left))
        )


def test_one_with_nothing_to_do_is_not_waited_for() -> None:
    server = Server()
    assert (server.drain(), server.time, server.told) == (Drained(0, 0), 0, [])


def test_what_is_in_flight_ends_and_nothing_is_cut() -> None:
    server = Server(slots=[slots(4), slots(2), slots(0)], metrics=[counters(4, 3), counters(2), counters(0)])
    assert server.drain() == Drained(in_flight=7, cut=0)
    assert (server.time, server.told) == (4, [(7, 30), (2, 28)])


def test_no_more_questions_are_asked_than_one_in_two_seconds() -> None:
    server = Server(slots=slots(1))
    server.drain(20)
    assert server.asked.count("/metrics") == 11


@pytest.mark.parametrize("seconds", [0, 1, 5, 30])
def test_what_does_not_end_in_time_is_cut_and_counted(seconds: int) -> None:
    server = Server(slots=slots(4), metrics=counters(4, 12))
    found = server.drain(seconds)
    assert (found, server.time) == (Drained(in_flight=16, cut=16), seconds)
    assert found.warning.startswith(
        "16 requests were cut, for the server was still busy after llama_server_drain_timeout; raise that"
    )


@pytest.mark.parametrize(
    "pages",
    [
        {"props": SILENT},
        {"props": Reply(401)},
        {"props": Reply(200, "<html>")},
        {"props": Reply(200, '{"is_sleeping": "very"}')},
        {"slots": Reply(501), "metrics": Reply(501)},
        {"slots": Reply(401), "metrics": Reply(401)},
    ],
)
def test_one_that_hangs_or_tells_nothing_is_not_waited_for(pages: dict[str, Reply]) -> None:
    server = Server(**pages)
    assert (server.drain(), server.time, server.told) == (Drained(UNKNOWN, UNKNOWN), 0, [])
    assert Drained(UNKNOWN, UNKNOWN).warning == ""


@pytest.mark.parametrize(
    ("page", "asked"), [(Reply(200, '{"is_sleeping": true}'), ["/props"]), (Reply(503), ["/props"])]
)
def test_one_that_sleeps_or_loads_is_not_woken(page: Reply, asked: list[str]) -> None:
    server = Server(props=page)
    assert (server.drain(), server.asked) == (Drained(0, 0), asked)


def test_one_that_computes_a_long_prompt_may_answer_late() -> None:
    server = Server(slots=[slots(1), SILENT, slots(0)], metrics=[counters(1), SILENT, counters(0)])
    assert (server.drain(), server.time) == (Drained(1, 0), 4)
    late = Server(slots=SILENT, metrics=SILENT)
    assert (late.drain(6), late.time, late.told[0]) == (Drained(UNKNOWN, UNKNOWN), 6, (UNKNOWN, 6))


def test_one_that_ends_meanwhile_has_cut_nothing_of_ours() -> None:
    server = Server(slots=slots(2))
    server.dies_at = 3
    assert (server.drain(), server.time) == (Drained(2, 0), 4)


@pytest.mark.parametrize(
    ("switched_off", "found"), [({"metrics": Reply(501)}, Drained(4, 4)), ({"slots": Reply(501)}, Drained(7, 7))]
)
def test_one_of_the_two_counts_is_enough(switched_off: dict[str, Reply], found: Drained) -> None:
    assert Server(**{"slots": slots(4), "metrics": counters(4, 3), **switched_off}).drain(0) == found


def models(**statuses: str) -> Reply:
    return Reply(
        200, json.dumps({"data": [{"id": name, "status": {"value": value}} for name, value in statuses.items()]})
    )


def test_of_a_router_only_the_models_are_asked_that_are_loaded() -> None:
    router = Server(
        props=Reply(200, '{"role": "router"}'),
        models=models(a="loaded", b="unloaded", c="sleeping", d="loaded"),
        slots=slots(1),
        metrics=counters(1, 1),
    )
    assert router.drain(0) == Drained(4, 4)
    assert [path for path in router.asked if "slots" in path] == [
        "/slots?model=a&autoload=false",
        "/slots?model=d&autoload=false",
    ]
    assert Server(props=Reply(200, '{"role": "router"}'), models=models(b="unloaded")).drain() == Drained(0, 0)


@pytest.mark.parametrize("page", [Reply(200, "[]"), Reply(200, '{"data": 3}'), Reply(200, '{"data": [{"id": 5}]}')])
def test_a_router_that_answers_something_else_is_not_waited_for(page: Reply) -> None:
    server = Server(props=Reply(200, '{"role": "router"}'), models=page)
    assert (server.drain(), server.time) == (Drained(UNKNOWN, UNKNOWN), 0)
