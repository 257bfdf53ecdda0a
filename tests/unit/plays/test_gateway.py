# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The real play of the gateways, with a stand-in for the module: it gets the servers that the inventory has."""

import typing

import pytest

from tests.unit.plays.fleet import Fleet

KEY = "a-key-of-the-fleet-s-servers"
OPEN: dict[str, typing.Any] = {"llama_server_host": "0.0.0.0", "llama_server_api_key": KEY}
HOSTS: dict[str, dict[str, typing.Any]] = {
    "gw1": {"llama_gateway_backend_key": KEY},
    "gpu1": {**OPEN, "ansible_host": "192.0.2.11", "gguf_model_source": "org/Qwen3-8B-GGUF:Q4_K_M"},
    "gpu2": {
        **OPEN,
        "llama_server_instances": {
            "chat": {"llama_server_alias": "qwen, gpt-4o", "llama_server_port": 8081, "llama_server_parallel": 3},
            "old": {"llama_server_state": "stopped", "llama_server_port": 8082},
        },
    },
}


@pytest.fixture
def gateway(fleet: Fleet) -> Fleet:
    fleet.groups = {"llama_gateways": ["gw1"]}
    return fleet


def test_a_gateway_gets_the_instances_that_are_to_run(gateway: Fleet) -> None:
    assert gateway.run("gateway", HOSTS).failures == []
    (call,) = gateway.calls("gw1")
    default, chat = call["servers"]
    assert default == {
        "name": "gpu1/default",
        "model": "Qwen3-8B",
        "aliases": [],
        "address": "192.0.2.11",
        "port": 8080,
        "slots": 16,
        "tls": False,
    }
    named = {key: chat[key] for key in ("name", "model", "aliases", "address", "port", "slots")}
    assert list(named.values()) == ["gpu2/chat", "qwen", ["gpt-4o"], "gpu2", 8081, 3]
    assert call["backend_key"] == KEY


def test_hosts_and_groups_can_be_chosen(gateway: Fleet) -> None:
    gateway.groups["fast"] = ["gpu2"]
    assert gateway.run("gateway", HOSTS, {"llama_gateway_hosts": ["fast"]}).failures == []
    assert [server["name"] for server in gateway.calls("gw1")[0]["servers"]] == ["gpu2/chat"]


def test_the_gateway_s_own_host_can_serve(gateway: Fleet) -> None:
    hosts = {"gw1": {"gguf_model_source": "org/Qwen3-8B-GGUF"}}
    assert gateway.run("gateway", hosts, {"llama_gateway_hosts": ["gw1"]}).failures == []
    assert gateway.calls("gw1")[0]["servers"][0]["address"] == "127.0.0.1"


def test_a_server_that_the_gateway_cannot_reach_is_told_before_anything_is_done(gateway: Fleet) -> None:
    hosts = {**HOSTS, "gpu3": {}, "gpu4": {"llama_server_alias": "two words"}}
    assert gateway.run("gateway", hosts).failures
    assert gateway.calls("gw1") == []
    assert "127.0.0.1 for gpu3/default, which its gateway on another host cannot reach" in gateway.failures()["gw1"]
    assert "'two words' for gpu4/default" in gateway.failures()["gw1"]


def test_a_variable_that_needs_facts_is_nobody_s_concern(gateway: Fleet) -> None:
    hosts = {**HOSTS, "gpu1": {**HOSTS["gpu1"], "memory": "{{ ansible_facts.memtotal_mb }}"}}
    assert gateway.run("gateway", hosts).failures == []


def test_a_model_without_an_alias_is_called_as_its_source(gateway: Fleet) -> None:
    sources = {
        "h1": "pypi:some-model==1.0#sha256=" + "0" * 64,
        "h2": "org/repo/Big-Model-Q4_K_M-00001-of-00003.gguf",
        "h3": "/srv/models/own.gguf",
    }
    hosts = {"gw1": {}, **{name: {**OPEN, "gguf_model_source": source} for name, source in sources.items()}}
    assert gateway.run("gateway", hosts).failures == []
    models = [server["model"] for server in gateway.calls("gw1")[0]["servers"]]
    assert models == ["some-model", "Big-Model-Q4_K_M", "own"]


def test_two_models_of_one_name_need_an_alias(gateway: Fleet) -> None:
    hosts = {
        "gw1": {},
        "h1": {**OPEN, "gguf_model_source": "org/Qwen3-8B-GGUF:Q4_K_M"},
        "h2": {**OPEN, "gguf_model_source": "org/Qwen3-8B-GGUF:Q8_0"},
    }
    assert gateway.run("gateway", hosts).failures
    assert "'Qwen3-8B' for both org/Qwen3-8B-GGUF:Q4_K_M and org/Qwen3-8B-GGUF:Q8_0" in gateway.failures()["gw1"]


def test_servers_by_hand_are_taken_as_they_are(gateway: Fleet) -> None:
    server = {"name": "h/default", "model": "m", "address": "192.0.2.1", "port": 80, "slots": 1}
    hosts = {"gw1": {"llama_gateway_servers": [server]}, "gpu3": {}}
    assert gateway.run("gateway", hosts).failures == []
    assert gateway.calls("gw1")[0]["servers"] == [server]
