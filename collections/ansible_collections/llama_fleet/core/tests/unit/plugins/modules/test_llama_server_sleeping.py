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
from ansible_collections.llama_fleet.core.tests.unit.fakes.real_release import MODEL, real, with_real_release

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


def models(instance: Instance) -> dict[str, str]:
    """Return the states of a router's models, which a question for their list does not change."""
    with urllib.request.urlopen(f"http://127.0.0.1:{instance.port}/v1/models", timeout=10) as reply:
        return {model["id"]: model["status"]["value"] for model in json.load(reply)["data"]}


def use(instance: Instance, model: str) -> None:
    body = json.dumps({"model": model, "prompt": "Hi", "n_predict": 1}).encode()
    kind = {"Content-Type": "application/json"}
    urllib.request.urlopen(
        urllib.request.Request(f"http://127.0.0.1:{instance.port}/completion", body, kind), timeout=120
    ).close()


@real
def test_looking_at_a_router_loads_evicts_and_wakes_no_model(instance: Instance, tmp_path: pathlib.Path) -> None:
    preset = tmp_path / "models.ini"
    preset.write_text(f"[one]\nmodel = {MODEL}\n[two]\nmodel = {MODEL}\nsleep-idle-seconds = 3\n")
    tmp_path.chmod(0o755)
    extra = {"models-preset": str(preset), "models-max": 1, "warmup": False}
    wanted: dict[str, typing.Any] = {"model": "", "allow": ["router"], "extra_options": extra}
    instance.good(**wanted)
    roots = pathlib.Path(instance.arguments["root"]), pathlib.Path(instance.arguments["runtime_root"])

    def states_after_looking() -> list[dict[str, str]]:
        seen = [models(instance)]
        for metrics in (True, False):
            assert Inspector(*roots, RuntimeHost(), metrics).inspect("default")["state"] == "running"
            seen.append(models(instance))
        for more in ({}, {"plan_only": True}, {"_ansible_check_mode": True}, {"prompt": "Hi"}):
            assert instance.good(**wanted, **more)["changed"] is False
            seen.append(models(instance))
        return seen

    waiting.until(lambda: models(instance)["one"] == "unloaded")
    assert states_after_looking() == [{"one": "unloaded", "two": "unloaded"}] * 7
    use(instance, "two")
    waiting.until(lambda: models(instance)["two"] == "sleeping")
    assert states_after_looking() == [{"one": "unloaded", "two": "sleeping"}] * 7
    use(instance, "one")
    assert states_after_looking() == [{"one": "loaded", "two": "unloaded"}] * 7
    assert instance.good(**wanted, prompt="Hi")["answer"], "a model that is loaded answers"
