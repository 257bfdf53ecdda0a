# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Test that the controller gets endpoints that it can reach."""

from __future__ import annotations

import types
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.action import llama_server, llama_server_info, plan_info
from ansible_collections.llama_fleet.core.plugins.plugin_utils.endpoints import Way
from ansible_collections.llama_fleet.core.plugins.plugin_utils.host_action import HostAction
from ansible_collections.llama_fleet.core.plugins.plugin_utils.progress_action import ProgressAction
from ansible_collections.llama_fleet.core.tests.unit.fakes.instance_facts import FACTS

Facts = dict[str, typing.Any]
OPEN: Facts = {**FACTS, "instance": "chat", "endpoint": "http://127.0.0.1:8080", "listens_everywhere": True}
SSH = types.SimpleNamespace(transport="ssh")
PLACE = types.SimpleNamespace(remote_addr="192.0.2.7")


@pytest.mark.parametrize(
    ("way", "endpoint", "seen"),
    [
        (Way("ssh", "gpu-1.example"), "http://127.0.0.1:8080", "http://gpu-1.example:8080"),
        (Way("ansible.builtin.paramiko_ssh", "192.0.2.7"), "https://[::1]:8443/x", "https://192.0.2.7:8443/x"),
        (Way("ssh", "2001:db8::7"), "http://127.0.0.1:8080", "http://[2001:db8::7]:8080"),
        # Nothing that a client on the controller could use.
        (Way("ssh", "127.0.0.1"), "http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        (Way("local", "near"), "http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        (Way("containers.podman.podman", "box"), "http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        (Way("ssh", "a host"), "http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        (Way("ssh", "gpu-1"), "http://127.0.0.1:99999", "http://127.0.0.1:99999"),
        (Way("ssh", "gpu-1"), "http://127.0.0.1", "http://127.0.0.1"),
    ],
)
def test_an_instance_on_all_addresses_is_reached_at_its_hosts(way: Way, endpoint: str, seen: str) -> None:
    assert way.seen({**OPEN, "endpoint": endpoint})["endpoint"] == seen


@pytest.mark.parametrize("facts", [{**OPEN, "listens_everywhere": False}, {**OPEN, "endpoint": ""}, {}])
def test_any_other_instance_keeps_its_endpoint(facts: Facts) -> None:
    assert Way("ssh", "gpu-1").seen(facts) == facts


def test_each_action_that_returns_an_endpoint_returns_that_of_the_controller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HostAction, "run", lambda *_arguments: {"instances": [OPEN]})
    monkeypatch.setattr(ProgressAction, "run", lambda *_arguments: OPEN)
    for action in (llama_server.ActionModule, llama_server_info.ActionModule, plan_info.ActionModule):
        monkeypatch.setattr(action, "__init__", lambda _self: None)
        monkeypatch.setattr(action, "_connection", SSH, raising=False)
        monkeypatch.setattr(action, "_play_context", PLACE, raising=False)
    assert llama_server.ActionModule().run()["endpoint"] == "http://192.0.2.7:8080"
    (facts,) = llama_server_info.ActionModule().run()["instances"]
    assert facts["endpoint"] == "http://192.0.2.7:8080"
    assert plan_info.ActionModule()._seen({"llama_server": OPEN})["llama_server"]["endpoint"] == "http://192.0.2.7:8080"
