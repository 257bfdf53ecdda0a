# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test the facts of instances with real files, real marked processes, and a scripted server over real HTTP."""

from __future__ import annotations

import dataclasses
import json
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.host import processes
from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import Result
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes import registry
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.host import Place
from ansible_collections.llama_fleet.core.tests.unit.fakes.instance import KEY, UNIT, Docker, Site
from ansible_collections.llama_fleet.core.tests.unit.fakes.metrics_server import Fake, healthy, serving
from ansible_collections.llama_fleet.core.tests.unit.fakes.runner import FakeRunner

if typing.TYPE_CHECKING:
    import pathlib


@pytest.fixture
def site(tmp_path: pathlib.Path) -> Site:
    return Site(tmp_path)


def generation_facts(number: int, **facts: typing.Any) -> dict[str, typing.Any]:
    model, created = "tiny-Q4_K_M-00001-of-00002.gguf", "2026-11-22T09:00:00Z"
    return {"number": number, "created": created, "model": model, **facts}


RECORD = {"nightly": "b1", "source": "upstream:stable", "origin": "upstream", "why": "llama_cpp_source names them"}


def all_facts(site: Site, pid: int) -> dict[str, typing.Any]:
    """Return the facts of the site's second generation, served by ``pid``, without its memory and uptime."""
    return {
        "instance": "chat",
        "state": "running",
        "generation": 2,
        "good": True,
        "generations": [
            generation_facts(1, good=False, build="b0", current=False, speed=0.0),
            generation_facts(2, good=True, build="b1", current=True, speed=12.5),
        ],
        "runtime": "process",
        "release": str(site.release),
        "build": "b1",
        **RECORD,
        "model": str(site.model),
        "quant": "Q4_K_M",
        "endpoint": f"http://127.0.0.1:{site.port}",
        "listens_everywhere": False,
        "background": "",
        "device": "cpu",
        "pid": pid,
        "gpu_memory_mib": 0,
        "slots": 3,
        "slots_busy": 2,
        "requests_deferred": 2,
        "tokens_predicted": 1234,
        "tokens_per_second": 41.26,
        "prompt_tokens_per_second": 310.5,
        "drift": [],
        "unknown": [],
        "log": str(site.folder / "run" / "chat.log"),
    }


def test_an_instance_that_runs_tells_all_of_itself(site: Site) -> None:
    with serving(healthy(key=KEY)) as fake:
        site.port = fake.port
        site.write(1, good=False, speed=0, build="b0")
        generation = site.write(2, key=True)
        (site.release / "manifest.json").write_text(
            json.dumps({"build": "b1", "fingerprint": "f", **RECORD}), encoding="utf-8"
        )
        with site.running(2) as process:
            facts = site.facts()
    assert facts.pop("memory_mib") > 0
    assert facts.pop("uptime_seconds") in range(60)
    assert facts == all_facts(site, process.pid)
    assert KEY not in json.dumps(facts)
    assert generation.joinpath("api-key").read_text(encoding="utf-8").startswith(KEY)


@pytest.mark.parametrize(
    ("pages", "state", "unknown"),
    [
        ({"/health": (503, "")}, "loading", []),
        ({"/health": (500, "")}, "unresponsive", ["/health answered 500"]),
        ({"/health": (200, "")}, "running", ["/slots answered 404", "/metrics answered 404"]),
    ],
)
def test_a_living_process_is_what_it_answers(
    site: Site, pages: dict[str, tuple[int, str]], state: str, unknown: list[str]
) -> None:
    with serving(Fake(pages)) as fake:
        site.port = fake.port
        site.write()
        with site.running():
            facts = site.facts()
    assert (facts["state"], facts["unknown"], facts["drift"]) == (state, unknown, [])


def test_without_metrics_only_the_health_is_asked(site: Site) -> None:
    with serving(healthy()) as fake:
        site.port = fake.port
        site.write()
        with site.running():
            facts = site.facts(metrics=False)
    assert (facts["state"], facts["slots"], fake.asked) == ("running", -1, ["/health"])


def test_without_a_process_it_is_stopped_or_failed_or_absent(site: Site) -> None:
    assert site.facts()["state"] == "absent"
    assert site.inspector().names() == []
    site.write()
    assert (site.facts()["state"], site.facts()["drift"]) == (
        "failed",
        ["it does not run, although it was not stopped"],
    )
    site.record(processes.Process(2**22 + 1, 1))
    facts = site.facts()
    assert (facts["state"], facts["pid"], facts["drift"]) == (
        "failed",
        0,
        ["it does not run, although it was not stopped"],
    )
    site.stop()
    assert (site.facts()["state"], site.facts()["drift"]) == ("stopped", [])
    (site.instance / "current").unlink()
    assert site.facts()["state"] == "stopped"
    (site.instance / "stopped").unlink()
    assert site.facts()["state"] == "failed", "the first generation there was did not pass its gate"
    assert site.inspector().names() == ["chat"]


@pytest.mark.parametrize("runtime", ["process", "systemd"])
def test_one_that_runs_though_it_was_stopped(site: Site, runtime: str) -> None:
    site.runtime, site.systemd.enabled = runtime, False
    site.write()
    site.stop()
    with site.running():
        assert site.facts()["drift"][0] == "it runs, although it was stopped"


def test_only_folders_with_the_name_of_an_instance_are_instances(site: Site) -> None:
    site.write()
    for name in ("Chat", "embed", ".chat.lock"):
        (site.instance.parent / name).mkdir()
    (site.instance.parent / "file").touch()
    assert site.inspector().names() == ["chat", "embed"]
    assert site.inspector().inspect("embed")["state"] == "absent"


def test_a_process_of_no_generation(site: Site) -> None:
    site.instance.mkdir(parents=True)
    with site.running():
        facts = site.facts()
    assert (facts["state"], facts["generation"], facts["drift"]) == (
        "running",
        0,
        ["a process runs, but no generation is current"],
    )


def test_a_router_has_no_figures_of_its_own(site: Site) -> None:
    with serving(healthy()) as fake:
        site.port = fake.port
        site.write(model="")
        with site.running():
            facts = site.facts()
    assert (facts["state"], facts["unknown"], fake.asked) == ("running", [], ["/health"])


def test_a_unit_is_compared_with_what_is_installed_and_with_the_boot(site: Site) -> None:
    site.runtime = "systemd"
    site.write()
    unit = site.folder / "units" / "llama-fleet-chat.service"
    unit.parent.mkdir()
    unit.write_text(UNIT, encoding="utf-8")
    facts = site.facts()
    assert (facts["state"], facts["drift"], facts["log"]) == (
        "failed",
        ["it does not run, although it starts at boot"],
        "journalctl -u llama-fleet-chat.service",
    )
    with site.running():
        assert site.facts()["drift"] == []
        unit.write_text(f"{UNIT}# mine\n", encoding="utf-8")
        site.systemd.enabled = False
        assert site.facts()["drift"] == [
            "what is installed is not the unit of generation 1",
            "it runs, but would not start at boot",
        ]
    unit.unlink()
    facts = site.facts()
    assert (facts["state"], facts["drift"]) == (
        "failed",
        ["it neither runs nor starts at boot, although it was not stopped"],
    )
    site.stop()
    assert (site.facts()["state"], site.facts()["drift"]) == ("stopped", [])
    unit.write_text(UNIT, encoding="utf-8")
    site.systemd.enabled = True
    assert (site.facts()["state"], site.facts()["drift"]) == ("stopped", ["it was stopped, but starts at boot"])


def test_a_container_is_what_its_engine_says(site: Site) -> None:
    site.runtime, docker = "docker", Docker()
    site.systemd = docker
    site.write()
    with site.running(recorded=False) as process:
        docker.main_pid = process.pid
        facts = site.facts()
        assert (facts["state"], facts["pid"], facts["drift"]) == ("unresponsive", process.pid, [])
    docker.main_pid, docker.status = 0, "exited"
    assert site.facts()["state"] == "failed", "only docker was asked"
    site.stop()
    assert (site.facts()["state"], site.facts()["drift"]) == ("stopped", [])
    (site.instance / "stopped").unlink()
    docker.status = "restarting"
    assert (site.facts()["state"], site.facts()["drift"]) == ("failed", ["it does not run, although it starts at boot"])


def test_a_container_file_is_looked_for_where_the_host_has_them(site: Site) -> None:
    site.runtime = "quadlet"
    site.write()
    inspector = site.inspector()
    place = Place(site.instance, site.folder / "run", inspector.host)
    assert inspector.see("chat").runtime == registry.named("quadlet").at(place)


def test_a_container_whose_engine_hangs_is_not_said_to_be_gone(site: Site) -> None:
    site.runtime, site.systemd = "docker", typing.cast("Docker", FakeRunner(Result(124, "", "")))
    site.write()
    facts = site.facts()
    assert (facts["state"], facts["drift"], len(site.systemd.commands)) == ("unresponsive", [], 1)
    assert facts["unknown"][0].startswith(
        "docker: expected an engine that tells of its containers, found no answer within 20 s"
    )


def unreadable(monkeypatch: pytest.MonkeyPatch, generation: pathlib.Path) -> None:
    """Simulate a user who may read neither the manifest nor other users' environment, because root may read all."""
    (generation / "manifest.json").unlink()
    monkeypatch.setattr(processes, "environment", lambda _pid, _proc=None: {})


@pytest.mark.parametrize("runtime", ["process", "systemd"])
def test_another_user_is_told_what_it_may_see(site: Site, monkeypatch: pytest.MonkeyPatch, runtime: str) -> None:
    site.runtime, site.euid = runtime, 1000
    generation = site.write()
    with site.running() as process:
        site.systemd.main_pid = process.pid
        unreadable(monkeypatch, generation)
        facts = site.facts()
    assert (facts["state"], facts["pid"], facts["generation"]) == ("running", process.pid, 1)
    assert facts["unknown"] == [f"generation 1 cannot be read by this user: {generation}"]


def test_a_record_of_another_process_is_none_of_ours(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.euid = 1000
    generation = site.write()
    with site.running(recorded=False) as process:
        site.record(dataclasses.replace(process, started=process.started - 1))
        unreadable(monkeypatch, generation)
        assert site.facts()["pid"] == 0


@pytest.mark.parametrize(
    ("manifest", "device"),
    [
        ({"environment": {"LLAMA_ARG_DEVICE": "CUDA0,CUDA1"}}, "CUDA0,CUDA1"),
        ({"environment": {}, "command": ["llama-server", "--device", "CUDA1"]}, "CUDA1"),
        ({"environment": {}, "command": ["llama-server", "--device"]}, "cpu"),
    ],
)
def test_the_device_is_the_generations(site: Site, manifest: dict[str, typing.Any], device: str) -> None:
    site.write(**manifest, files={})
    assert site.facts()["device"] == device


@pytest.mark.parametrize(
    ("options", "endpoint"),
    [
        ({"host": "0.0.0.0"}, "http://127.0.0.1:1"),
        ({"tls_certificate": "/c"}, "https://127.0.0.1:1"),
        ({"extra_options": {"ssl-cert-file": "/c", "api-prefix": "/v"}}, "https://127.0.0.1:1/v"),
    ],
)
def test_the_endpoint_is_where_it_listens(site: Site, options: dict[str, typing.Any], endpoint: str) -> None:
    site.extra = options
    site.write()
    facts = site.facts()
    assert (facts["endpoint"], facts["listens_everywhere"]) == (endpoint, options.get("host") in ("0.0.0.0", "::"))
