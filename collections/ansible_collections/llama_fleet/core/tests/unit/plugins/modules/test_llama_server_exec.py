# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gate of what another executes: passed beside the instance's own port, and nothing is left running."""

from __future__ import annotations

import json
import socket
import typing

from ansible_collections.llama_fleet.core.tests.unit import waiting
from ansible_collections.llama_fleet.core.tests.unit.fakes import server as fake_server

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.tests.unit.module_runs import Instance


def test_a_generation_is_proved_once_before_it_is_executed(instance: Instance) -> None:
    first = instance.good(runtime="exec", api_key="k")
    assert (first["ready"], first["speed"] > 0, first["pid"], instance.servers()) == (True, True, 0, [])
    assert (instance.manifest(1)["good"], "--port" in first["command"], instance.manifest(1)["options"]["host"]) == (
        True,
        False,
        "127.0.0.1",
    )
    second = instance.good(runtime="exec", api_key="k")
    assert (second["changed"], second["ready"], second["generation"]) == (False, False, 1)


def test_its_own_port_is_not_needed_for_that(instance: Instance) -> None:
    port = instance.good(runtime="exec")["endpoint"].rpartition(":")[2]
    with socket.socket() as other:
        other.bind(("127.0.0.1", int(port)))
        assert instance.good(runtime="exec", parallel=2)["ready"]


def test_where_the_gate_says_no_the_generation_before_is_current_again(instance: Instance) -> None:
    instance.good(runtime="exec")
    broken = instance.release("broken", crash="no memory")
    message = instance.bad(runtime="exec", release=broken)
    assert "generation 2 not good: llama-server ended with exit status 1" in message
    assert "generation 1 is current again" in message
    assert "no memory" in message
    assert (instance.current(), instance.servers(), instance.manifest(2)["good"]) == ("1", [], False)


def test_where_the_first_gate_says_no_nothing_is_current(instance: Instance) -> None:
    broken = instance.release("broken", tokens=[7], pieces=["!"])
    assert "there is no generation to go back to" in instance.bad(runtime="exec", release=broken)
    assert not (instance.folder / "current").is_symlink()
    assert instance.servers() == []


def test_one_that_was_killed_in_its_gate_is_proved_by_the_next_run(instance: Instance) -> None:
    slow = instance.release("slow", loads_forever=True)
    pid = instance.start(runtime="exec", release=slow)
    waiting.until(instance.servers)
    instance.kill(pid)
    (left,) = instance.servers()
    fake_server.crash(left, instance.port)
    assert (instance.current(), instance.manifest(1)["good"]) == ("1", False)
    after = instance.good(runtime="exec")
    assert (after["generation"], after["ready"], instance.current()) == (2, True, "2")


def test_one_that_is_there_and_was_not_proved_is_proved(instance: Instance) -> None:
    instance.good(runtime="exec")
    manifest = instance.folder / "generations/1/manifest.json"
    manifest.write_text(json.dumps({**instance.manifest(1), "good": False}), encoding="utf-8")
    after = instance.good(runtime="exec")
    assert (after["generation"], after["ready"], instance.manifest(1)["good"]) == (1, True, True)
