# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test asking a server for its metrics over real HTTP, within the time limit."""

from __future__ import annotations

import dataclasses
import socket

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate import client as server_asking
from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate import metrics as server_metrics
from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate.metrics import Report
from ansible_collections.llama_fleet.core.tests.unit.fakes.metrics_server import METRICS, Fake, healthy, here, serving


def ask(fake: Fake, key: str = "", limit: float = 5.0, metrics: bool = True, may_sleep: bool = False) -> Report:
    with serving(fake):
        fetch = server_metrics.fetcher(f"http://127.0.0.1:{fake.port}", here(key), limit)
        return server_metrics.ask(fetch, metrics, may_sleep)


def test_a_busy_server_tells_its_work() -> None:
    assert ask(healthy(key="secret"), "secret") == Report(
        health="ok",
        slots=3,
        slots_busy=2,
        requests_deferred=2,
        tokens_predicted=1234,
        tokens_per_second=41.26,
        prompt_tokens_per_second=310.5,
    )


def test_only_its_health_is_asked_where_no_more_is_wanted() -> None:
    fake = healthy()
    assert ask(fake, metrics=False) == Report("ok")
    assert fake.asked == ["/health"]


@pytest.mark.parametrize("metrics", [True, False])
def test_a_server_that_sleeps_is_not_woken(metrics: bool) -> None:
    fake = healthy()
    fake.pages["/props"] = (200, '{"is_sleeping": true}')
    assert ask(fake, metrics=metrics, may_sleep=True) == Report("sleeping")
    assert fake.asked == ["/health", "/props"]


def test_a_server_that_may_sleep_is_not_kept_awake() -> None:
    fake = healthy()
    fake.pages["/props"] = (200, '{"is_sleeping": false}')
    assert ask(fake, may_sleep=True) == Report("ok", -1, 1, 2, 1234, 41.26, 310.5)
    assert fake.asked == ["/health", "/props", "/metrics"]


@pytest.mark.parametrize(("status", "body"), [(404, ""), (200, "<html>"), (200, '{"is_sleeping": "very"}')])
def test_a_server_that_may_sleep_is_not_asked_more_if_it_does_not_tell(status: int, body: str) -> None:
    fake = healthy()
    fake.pages["/props"] = (status, body)
    assert ask(fake, may_sleep=True) == Report("ok", silent=(f"/props answered {status}",))
    assert fake.asked == ["/health", "/props"]


def test_a_server_that_loads_is_not_asked_for_more() -> None:
    fake = Fake({"/health": (503, '{"error": {"message": "Loading model"}}')})
    assert ask(fake) == Report("loading")
    assert fake.asked == ["/health"]


def test_where_the_key_is_not_known_the_health_is() -> None:
    told = ask(healthy(key="secret"))
    assert (told.health, told.slots, told.tokens_predicted) == ("ok", -1, -1)
    assert told.silent == (
        "/slots needs a key that cannot be read here",
        "/metrics needs a key that cannot be read here",
    )


def test_what_is_switched_off_is_named_and_the_rest_told() -> None:
    fake = healthy()
    fake.pages["/slots"] = (501, "")
    told = ask(fake)
    assert told == Report("ok", -1, 1, 2, 1234, 41.26, 310.5, ("/slots answered 501",))


@pytest.mark.parametrize("body", ["<html>", '{"slots": 3}', ""])
def test_slots_that_are_none_are_not_counted(body: str) -> None:
    fake = healthy()
    fake.pages["/slots"] = (200, body)
    told = ask(fake)
    assert (told.slots, told.slots_busy, told.silent) == (-1, 1, ("/slots answered 200",))


def test_an_answer_that_never_ends_is_given_up() -> None:
    fake = dataclasses.replace(healthy(), seconds_a_byte=0.2)
    told = ask(fake, limit=2.0)
    assert told.health == "no response from /health: the answer did not end in time"


def test_an_answer_that_is_too_large_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_asking, "LARGEST", 1000)
    fake = healthy()
    fake.pages["/metrics"] = (200, METRICS * 1000)
    told = ask(fake)
    assert told.silent == ("/metrics was not answered",)
    assert told.slots == 3


def test_a_port_without_a_listener_is_reported() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        told = server_metrics.ask(server_metrics.fetcher(f"http://127.0.0.1:{probe.getsockname()[1]}"))
    assert told.health.startswith("no response from /health: ")
    assert "refused" in told.health


def test_a_proxy_of_the_environment_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert ask(healthy()).health == "ok"


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("llamacpp:kv_cache_tokens 7", {"kv_cache_tokens": 7.0}),
        ('llamacpp:seconds{model="a b"} 1.5e-1 1700000000', {"seconds": 0.15}),
        ("  llamacpp:a 1  ", {"a": 1.0}),
        ("llamacpp:a NaN", {}),
        ("llamacpp:a +Inf", {}),
        ("llamacpp:a one", {}),
        ("llamacpp:a", {}),
        ("process_cpu_seconds 3", {}),
        ("# TYPE llamacpp:a counter", {}),
        ("", {}),
    ],
)
def test_samples(line: str, found: dict[str, float]) -> None:
    assert server_metrics.parse(f"# HELP x\n{line}\n") == found
