# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test the gateway on real hosts with real llama-servers: provided, changed and reloaded under load.

The tests build on each other, in order: each finds the gateway answering and leaves it so.
"""

from __future__ import annotations

import json
import re
import typing

import pytest

from tests.gateway.running import Answer, Crowd, send
from tests.hosts import podman
from tests.server.host import KEY, Facts, Host

pytestmark = pytest.mark.e2e
GATEWAY_PORT = 8000
CLIENT_KEY = "a-client-s-key-of-this-test"
PORTS = {"a1": 8081, "a2": 8082, "b1": 8083}
MODELS = {"a1": "alpha", "a2": "alpha", "b1": "beta"}


def server(name: str, **changed: typing.Any) -> Facts:
    entry = {"name": f"h/{name}", "model": MODELS[name], "address": "127.0.0.1", "port": PORTS[name], "slots": 2}
    return {**entry, **changed}


class Fleet:
    """A host with a gateway and three instances, two of one model and one of another."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.servers = {name: server(name) for name in PORTS}

    def instance(self, name: str, **changed: typing.Any) -> Facts:
        return self.host.good(
            **{"instance": name, "alias": MODELS[name], "port": self.servers[name]["port"], **changed}
        )

    def gateway(self, **changed: typing.Any) -> Facts:
        result = self.host.module("llama_gateway", **self.wanted(**changed))
        assert not result.get("failed"), result["msg"]
        return result

    def wanted(self, **changed: typing.Any) -> Facts:
        return {
            "host": "0.0.0.0",
            "port": GATEWAY_PORT,
            "servers": list(self.servers.values()),
            "api_keys": {"ann": CLIENT_KEY},
            "backend_key": KEY,
            **changed,
        }

    def traffic(self, state: str, name: str) -> Facts:
        result = self.host.module("llama_gateway_traffic", state=state, server=self.servers[name])
        assert not result.get("failed"), result["msg"]
        return result

    def ask(self, body: typing.Any, session: str = "", **more: typing.Any) -> Answer:
        headers = {"x-session-id": session} if session else {}
        # Twelve clients share six slots of a busy machine.
        return send(self.host.address, GATEWAY_PORT, body, key=CLIENT_KEY, headers=headers, timeout=600, **more)

    def crowd(self) -> Crowd:
        body = {"messages": [{"role": "user", "content": "The capital of France is"}], "max_tokens": 8}
        return Crowd(self.ask, lambda text: text.rstrip().endswith("[DONE]"), ["alpha", "beta"], 12, body)

    def said(self, command: str) -> str:
        """Return the answer of HAProxy to a command over its runtime socket."""
        ask = (
            "import socket; s = socket.socket(socket.AF_UNIX); s.connect('/run/llama-fleet-gateway/admin.sock'); "
            f"s.sendall({command!r}.encode() + b'\\n'); s.shutdown(1); print(s.makefile().read())"
        )
        return self.host.output(f'python3 -c "{ask}"')

    def journal(self) -> str:
        self.host.output("journalctl --sync")
        return self.host.output("journalctl -u llama-fleet-gateway -o cat --no-pager")


@pytest.fixture(scope="module", params=podman.HOSTS, ids=lambda image: image.suite)
def fleet(request: pytest.FixtureRequest) -> typing.Iterator[Fleet]:
    host = Host(image=request.param)
    try:
        made = Fleet(host)
        for name in PORTS:
            made.instance(name)
        yield made
    finally:
        host.remove()


def test_a_plan_says_what_would_be_done_and_does_nothing(fleet: Fleet) -> None:
    planned = fleet.gateway(plan_only=True)
    assert (planned["would_change"], planned["changed"], planned["process"]) == (True, False, "restart")
    assert fleet.host.output("ls /etc/llama-fleet").split() == ["instances"]


def test_it_is_provided_from_nothing_and_a_second_run_changes_nothing(fleet: Fleet) -> None:
    first = fleet.gateway()
    assert (first["changed"], first["models"]) == (True, ["alpha", "beta"])
    pid = fleet.host.output("systemctl show --property MainPID --value llama-fleet-gateway")
    second = fleet.gateway()
    assert (second["changed"], second["process"]) == (False, "")
    assert fleet.host.output("systemctl show --property MainPID --value llama-fleet-gateway") == pid
    assert fleet.host.output("systemctl is-enabled haproxy || true").strip() == "disabled"


def test_it_answers_for_every_model(fleet: Fleet) -> None:
    for model in ("alpha", "beta"):
        body = {"model": model, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 4}
        assert fleet.ask(body).json["choices"][0]["message"]["content"]
    assert fleet.ask({"model": "alpha", "content": "a few words"}, path="/tokenize").json["tokens"]
    assert [model["id"] for model in fleet.ask(None, path="/v1/models", method="GET").json["data"]] == ["alpha", "beta"]


def test_its_unit_is_hardened_and_shows_no_secret(fleet: Fleet) -> None:
    said = fleet.host.output("systemd-analyze security --no-pager llama-fleet-gateway | tail -1")
    assert float(said.split("level for llama-fleet-gateway.service:")[1].split()[0]) <= 2.0
    shown = (
        fleet.host.output("ps -eo args; systemctl cat llama-fleet-gateway; cat /etc/llama-fleet/gateway/*.map")
        + fleet.journal()
    )
    assert CLIENT_KEY not in shown
    assert KEY not in shown
    assert CLIENT_KEY not in fleet.host.output("cat /etc/llama-fleet/gateway/*")
    modes = fleet.host.output("stat --format '%a %U:%G' /etc/llama-fleet/gateway/haproxy.cfg")
    assert modes.strip() == "640 root:haproxy"


def test_a_rolling_change_of_options_fails_no_request(fleet: Fleet) -> None:
    crowd = fleet.crowd()
    ways = []
    try:
        crowd.wait_for(20, 600)
        for name in PORTS:
            ways.append(fleet.traffic("out", name)["way"])
            assert fleet.instance(name, ctx_size=512)["restarted"]
            fleet.traffic("ready", name)
            crowd.wait_for(20, 600)
    finally:
        crowd.stop()
    assert crowd.failures == []
    assert crowd.done >= 80
    assert ways == ["drain", "drain", "hold"]
    assert fleet.gateway()["changed"] is False


def test_keys_and_aliases_change_without_a_reload_and_servers_with_one(fleet: Fleet) -> None:
    pid = fleet.host.output("systemctl show --property MainPID --value llama-fleet-gateway")
    crowd = fleet.crowd()
    try:
        crowd.wait_for(10, 600)
        keys = {"ann": CLIENT_KEY, "bob": "another-key-of-this-test"}
        changed = fleet.gateway(api_keys=keys, models={"beta": {"aliases": ["gpt-4o"]}})
        assert (changed["changed"], changed["process"]) == (True, "")
        body = {"model": "alpha", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 4}
        answer = send(fleet.host.address, GATEWAY_PORT, body, key=keys["bob"], timeout=600)
        assert answer.status == 200
        names = [model["id"] for model in fleet.ask(None, path="/v1/models", method="GET").json["data"]]
        assert names == ["alpha", "beta", "gpt-4o"]
        assert fleet.ask({**body, "model": "gpt-4o"}).status == 200
        fleet.traffic("out", "b1")
        fleet.instance("b1", port=8093)
        fleet.servers["b1"] = server("b1", port=8093)
        refused = fleet.host.module("llama_gateway", **fleet.wanted(out=["h/b1"]))
        assert "requests that are held for model-beta" in refused["msg"]
        fleet.traffic("ready", "b1")
        assert fleet.gateway()["process"] == "reload"
        crowd.wait_for(20, 600)
    finally:
        crowd.stop()
    assert crowd.failures == []
    assert fleet.host.output("systemctl show --property MainPID --value llama-fleet-gateway") == pid
    assert fleet.gateway()["changed"] is False
    assert fleet.gateway(limits={"default": {"concurrent": 50}})["process"] == "reload"
    assert fleet.gateway()["process"] == "reload"


def test_what_an_interrupted_run_has_left_is_healed(fleet: Fleet) -> None:
    fleet.traffic("out", "a1")
    fleet.traffic("out", "b1")
    planned = fleet.gateway(plan_only=True)
    assert planned["would_change"] is True
    assert fleet.gateway(out=["h/a1"])["changed"] is True
    assert fleet.traffic("out", "a1")["changed"] is False
    assert fleet.gateway()["changed"] is True
    assert fleet.gateway()["changed"] is False
    body = {"model": "beta", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 4}
    assert fleet.ask(body).status == 200


def test_a_drained_server_stays_drained_over_a_reload(fleet: Fleet) -> None:
    fleet.traffic("out", "a1")
    fleet.instance("a1", port=8091)
    fleet.servers["a1"] = server("a1", port=8091)
    assert fleet.gateway(out=["h/a1"], queue_timeout=500)["process"] == "reload"
    # The reload itself has brought the new port to the drained server.
    assert re.search(r" h:a1 127\.0\.0\.1 .* 8091 ", fleet.said("show servers state"))
    assert fleet.traffic("out", "a1")["changed"] is False
    assert fleet.gateway()["process"] == "reload"
    assert fleet.gateway()["changed"] is False


def test_a_server_whose_own_change_is_to_come_stays_as_it_is(fleet: Fleet) -> None:
    wrong = [server("a1", port=9999), fleet.servers["a2"], fleet.servers["b1"]]
    assert fleet.gateway(servers=wrong, unchanged=["h/a1"])["changed"] is False


def test_a_mistake_changes_nothing(fleet: Fleet) -> None:
    refused = fleet.host.module("llama_gateway", **fleet.wanted(api_keys={}))
    assert "llama_gateway_host" in refused["msg"]
    refused = fleet.host.module("llama_gateway", **fleet.wanted(tls_certificate="/etc/none.pem", tls_key="/etc/none"))
    assert "llama_gateway_tls_certificate" in refused["msg"]
    assert KEY not in json.dumps(refused)
    fleet.host.take_port(8010)
    refused = fleet.host.module("llama_gateway", **fleet.wanted(port=8010))
    assert "llama_gateway_port: expected a free port, found 8010, on which process" in refused["msg"]
    assert fleet.gateway()["changed"] is False


def test_it_is_removed(fleet: Fleet) -> None:
    assert fleet.gateway(state="absent")["changed"] is True
    assert fleet.gateway(state="absent")["changed"] is False
    assert fleet.host.output("ls /etc/llama-fleet").split() == ["instances"]
