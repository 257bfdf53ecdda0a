# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Test llama_server with a minimum speed: a slow server fails, a busy host does not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.host import processes
from ansible_collections.llama_fleet.core.tests.unit import waiting
from ansible_collections.llama_fleet.core.tests.unit.fakes import server as fake_server

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.tests.unit.module_runs import Instance


def trials(instance: Instance) -> list[processes.Process]:
    """List the servers that run beside the instance's own."""
    return processes.started_with("LLAMA_FLEET_INSTANCE", f"{instance.folder}.trial")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        # The host is busy from now on: so is the old server, just before it is stopped.
        ([100.0, 20.0], [19.0]),
        # It is busy since the new one runs: so is the old one beside it. Its trial has a gate, two texts and the turns.
        ([100.0, 100.0, 100.0, 12.0], [11.0]),
    ],
)
def test_a_busy_host_is_not_taken_for_a_slow_server(
    instance: Instance, before: list[float], after: list[float]
) -> None:
    instance.good(release=instance.release("before", speeds=before))
    result = instance.good(release=instance.release("after", speeds=after), min_speed_ratio=0.8)
    assert (result["generation"], result["speed"]) == (2, after[0])
    assert "in turns" not in str(result["warnings"])
    assert instance.servers() == [result["pid"]]


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ([100.0], [70.0, 79.0, 60.0], "(0.60 to 0.79 one after the other) as generation 1, less than"),
        ([100.0, 100.0, 30.0, 100.0], [40.0], ""),
    ],
)
def test_without_room_for_two_servers_their_intervals_are_compared(
    instance: Instance, before: list[float], after: list[float], told: str
) -> None:
    crowded = {"memory_check": False, "min_speed_ratio": 0.8}
    instance.good(release=instance.release("before", speeds=before, model_mib=1 << 24), **crowded)
    release = instance.release("after", speeds=after)
    if told:
        assert told in instance.bad(release=release, **crowded)
        assert instance.current() == "1"
    else:
        assert instance.good(release=release, **crowded)["generation"] == 2


def test_a_speed_that_cannot_be_compared_is_a_warning(instance: Instance) -> None:
    crowded = {"memory_check": False, "min_speed_ratio": 0.8}
    first = instance.good(release=instance.release("before", model_mib=1 << 24), **crowded)
    fake_server.crash(first["pid"], instance.arguments["port"])
    result = instance.good(release=instance.release("after", speeds=[5.0]), **crowded)
    warnings = str(result["warnings"])
    assert "it generates 5.0 tokens a second, and generation 1 had 100.0 at another time; the two could" in warnings
    assert "MiB of Host with" in warnings


def test_servers_with_other_keys_are_compared(instance: Instance) -> None:
    instance.good(api_key="one-key", release=instance.release("before"))
    message = instance.bad(api_key="other-key", release=instance.release("after", speeds=[50.0]), min_speed_ratio=0.8)
    assert "it generates 0.50 times as many tokens a second (0.50 to 0.50 in 7 turns) as generation 1" in message
    assert "generation 1 is back in service" in message
    assert (instance.answers("one-key"), len(instance.servers()), trials(instance)) == (200, 1, [])


def test_a_trial_of_a_killed_run_is_stopped_by_the_next_one(instance: Instance) -> None:
    pid = instance.good()["pid"]
    marked = {**os.environ, "LLAMA_FLEET_INSTANCE": f"{instance.folder}.trial"}
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], env=marked) as left:
        try:
            # The kernel shows a new process's environment a moment after its start.
            waiting.until(lambda: [each.pid for each in trials(instance)] == [left.pid])
            assert instance.good()["pid"] == pid
            assert left.wait(30) < 0
        finally:
            left.kill()


def test_a_server_that_saves_slots_is_not_run_beside_another_because_both_would_write_there(
    instance: Instance,
) -> None:
    instance.good(release=instance.release("before", speeds=[100.0]))
    # The fake server's release knows no slots.
    manifest = instance.folder / "current" / "manifest.json"
    written = json.loads(manifest.read_text(encoding="utf-8"))
    written["options"]["extra_options"] = {"slot-save-path": str(instance.folder / "slots")}
    manifest.write_text(json.dumps(written), encoding="utf-8")
    told = instance.bad(release=instance.release("after", speeds=[70.0, 79.0, 60.0]), min_speed_ratio=0.8)
    assert "one after the other) as generation 1, less than" in told
    assert trials(instance) == []
