# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looking at a real llama-server that sleeps, and runs that find nothing to do, leave it asleep."""

from __future__ import annotations

import json
import pathlib
import typing
import urllib.request

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.host import RuntimeHost
from ansible_collections.llama_fleet.core.plugins.module_utils.server.status.info import Inspector
from ansible_collections.llama_fleet.core.tests.unit import waiting
from ansible_collections.llama_fleet.core.tests.unit.fakes.real_release import real, with_real_release

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.tests.unit.module_runs import Instance


@pytest.fixture
def instance(instance: Instance) -> Instance:
    return with_real_release(instance)


def asleep(instance: Instance) -> bool:
    """Return whether the server says that it sleeps, which is all that may be asked of it."""
    with urllib.request.urlopen(f"http://127.0.0.1:{instance.port}/props", timeout=10) as reply:
        return bool(json.load(reply)["is_sleeping"])


@real
def test_looking_leaves_a_sleeping_server_asleep(instance: Instance) -> None:
    wanted: dict[str, typing.Any] = {"extra_options": {"sleep-idle-seconds": 3}, "ready_timeout": 120}
    first = instance.good(**wanted)
    roots = pathlib.Path(instance.arguments["root"]), pathlib.Path(instance.arguments["runtime_root"])
    inspector = Inspector(*roots, RuntimeHost())
    awake = [inspector.inspect("default") for _time in range(2)]
    assert {facts["state"] for facts in awake} <= {"running", "sleeping"}
    waiting.until(lambda: asleep(instance))

    for metrics in (True, False):
        facts = Inspector(*roots, RuntimeHost(), metrics).inspect("default")
        assert (facts["state"], facts["drift"], facts["unknown"]) == ("sleeping", [], [])
        assert asleep(instance)
    for more in ({}, {"plan_only": True}, {"_ansible_check_mode": True}, {"prompt": "Hi"}):
        again = instance.good(**wanted, **more)
        assert (again["changed"], again["restarted"], again["pid"]) == (False, False, first["pid"])
        assert asleep(instance)
