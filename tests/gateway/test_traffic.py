"""Servers leave the traffic and come back without a failed request."""

import os
import subprocess
import sys
import threading
import time
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.gateway.traffic import Outcome, TrafficError
from tests.gateway.conftest import Start
from tests.gateway.running import Answer, Crowd, Gateway, server_of
from tests.gateway.standin import StandIn
from tests.unit import imports


def _roll(gateway: Gateway, standins: list[StandIn], way: str = "auto", moved: bool = True) -> Crowd:
    """Restart every stand-in in turn under twelve clients."""
    crowd = gateway.crowd(["alpha", "beta"], clients=12)
    try:
        crowd.wait_for(30)
        for standin, server in zip(standins, gateway.servers, strict=True):
            if moved:
                outcome = gateway.traffic.take_out(server.label, way, 20)
                assert outcome.left == 0
            standin.stop()
            time.sleep(0.5)
            standin.restart()
            if moved:
                gateway.traffic.bring_back(server, 20)
            crowd.wait_for(30)
    finally:
        crowd.stop()
    return crowd


def test_every_server_restarts_under_load_without_a_failed_request(start: Start, standins: list[StandIn]) -> None:
    gateway = start()
    crowd = _roll(gateway, standins)
    assert crowd.done >= 120
    assert crowd.failures == []
    assert gateway.traffic.held() == []


def test_without_a_hold_the_only_server_of_a_model_fails_requests(start: Start, standins: list[StandIn]) -> None:
    assert _roll(start(), standins, way="drain").failures


def test_without_a_drain_requests_fail(start: Start, standins: list[StandIn]) -> None:
    assert _roll(start(), standins, moved=False).failures


def test_requests_wait_while_their_model_is_held(start: Start, standins: list[StandIn]) -> None:
    gateway = start()
    only = gateway.servers[2]
    assert gateway.traffic.take_out(only.label, "auto", 10) == Outcome("hold", 0, True)
    assert gateway.traffic.held() == ["model-beta"]
    answers: list[Answer] = []
    thread = threading.Thread(target=lambda: answers.append(gateway.ask({"model": "beta"})))
    thread.start()
    time.sleep(1)
    assert (answers, standins[2].keys) == ([], [])
    assert gateway.ask({"model": "alpha"}).status == 200
    assert gateway.traffic.bring_back(only, 20) == Outcome("ready", 0, True)
    thread.join(10)
    assert answers[0].status == 200
    assert int(answers[0].headers["x-held-ms"]) >= 900


def test_a_model_with_another_server_is_drained_and_not_held(start: Start) -> None:
    gateway = start()
    assert gateway.traffic.take_out(gateway.servers[0].label, "auto", 10) == Outcome("drain", 0, True)
    assert gateway.traffic.held() == []
    assert {gateway.ask({"model": "alpha", "user": str(n)}).json["server"] for n in range(10)} == {"h2"}
    # The other one is the only one now.
    assert gateway.traffic.take_out(gateway.servers[1].label, "auto", 10).way == "hold"


# Each run is a process of its own, and what keeps them apart is a lock between processes.
LEAVE = """
import pathlib, sys
from ansible_collections.llama_fleet.core.plugins.module_utils.gateway.runtime import RuntimeSocket
from ansible_collections.llama_fleet.core.plugins.module_utils.gateway.traffic import Traffic
socket, root, label = sys.argv[1:]
traffic = Traffic(RuntimeSocket(pathlib.Path(socket)), pathlib.Path(root))
print("ready", flush=True)
sys.stdin.readline()
print(traffic.take_out(label, "auto", 20).way)
"""


def test_of_two_servers_that_leave_at_once_one_is_held_for(start: Start) -> None:
    gateway = start()
    command = [sys.executable, "-c", LEAVE, str(gateway.runtime.path), str(gateway.options.root)]
    environment = {**os.environ, "PYTHONPATH": imports.PYTHONPATH}

    def leaving(label: str) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        return subprocess.Popen([*command, label], stdin=pipe, stdout=pipe, text=True, env=environment)

    for _try in range(5):
        runs = [leaving(server.label) for server in gateway.servers[:2]]
        for run in runs:
            assert typing.cast("typing.IO[str]", run.stdout).readline() == "ready\n"
        for run in runs:
            typing.cast("typing.IO[str]", run.stdin).write("now\n")
            typing.cast("typing.IO[str]", run.stdin).flush()
        assert sorted(run.communicate(timeout=60)[0].strip() for run in runs) == ["drain", "hold"]
        for server in gateway.servers[:2]:
            gateway.traffic.bring_back(server, 20)


def test_a_second_time_changes_nothing(start: Start) -> None:
    gateway = start()
    only = gateway.servers[2]
    gateway.traffic.take_out(only.label, "auto", 10)
    assert gateway.traffic.take_out(only.label, "auto", 10) == Outcome("hold", 0, False)
    gateway.traffic.bring_back(only, 20)
    assert gateway.traffic.bring_back(only, 20) == Outcome("ready", 0, False)


def test_a_server_is_out_only_when_its_requests_have_ended(start: Start, standins: list[StandIn]) -> None:
    standins[2].seconds = 3
    gateway = start()
    answers: list[Answer] = []
    thread = threading.Thread(target=lambda: answers.append(gateway.ask({"model": "beta"})))
    thread.start()
    time.sleep(0.5)
    assert gateway.traffic.take_out(gateway.servers[2].label, "auto", 60) == Outcome("hold", 0, True)
    assert standins[2].busy == 0
    thread.join()
    assert answers[0].status == 200


def test_a_request_that_does_not_end_is_told(start: Start, standins: list[StandIn]) -> None:
    standins[0].seconds = standins[1].seconds = 6
    gateway = start()
    thread = threading.Thread(target=lambda: gateway.ask({"model": "alpha"}))
    thread.start()
    time.sleep(0.5)
    busy = next(server for server in gateway.runtime.seen().of("model-alpha") if server.busy)
    assert gateway.traffic.take_out(busy.name, "auto", 1) == Outcome("drain", 1, True)
    thread.join()


def test_a_queue_that_does_not_empty_leaves_the_traffic_as_it_was(start: Start, standins: list[StandIn]) -> None:
    standins[2].seconds = 4
    gateway = start()
    threads = [threading.Thread(target=lambda: gateway.ask({"model": "beta"})) for _number in range(8)]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    with pytest.raises(TrafficError, match="still wait for a slot"):
        gateway.traffic.take_out(gateway.servers[2].label, "auto", 1)
    assert gateway.traffic.held() == []
    assert len(gateway.up()) == 3
    for thread in threads:
        thread.join()


def test_a_server_comes_back_on_another_port_with_other_slots(start: Start, standins: list[StandIn]) -> None:
    gateway = start()
    gateway.traffic.take_out(gateway.servers[2].label, "auto", 10)
    moved = StandIn("h3")
    try:
        gateway.traffic.bring_back(server_of(moved, "beta", slots=7), 20)
        assert gateway.ask({"model": "beta"}).status == 200
        assert (moved.keys, standins[2].keys) == ([""], [])
        (server,) = gateway.runtime.seen().of("model-beta")
        assert (server.slots, server.address) == (7, f"127.0.0.1:{moved.port}")
    finally:
        moved.stop()


def test_a_server_that_stays_down_is_told_and_its_hold_released(start: Start, standins: list[StandIn]) -> None:
    gateway = start()
    gateway.traffic.take_out(gateway.servers[2].label, "auto", 10)
    standins[2].healthy = False
    time.sleep(1.5)
    with pytest.raises(TrafficError, match="h3/default does not answer the gateway's health check"):
        gateway.traffic.bring_back(gateway.servers[2], rise=1)
    assert gateway.traffic.held() == []
