# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test an instance in a container of docker compose: started, unchanged, changed, stopped, made a unit, removed.

The tests build on each other, in order.
"""

from __future__ import annotations

import typing

import pytest

from tests.server.containers import ContainerHost
from tests.server.host import KEY, ROOT

pytestmark = pytest.mark.e2e

GOLDEN = ROOT / "collections/ansible_collections/llama_fleet/core/tests/unit/plugins/module_utils/golden"


@pytest.fixture(scope="module")
def host() -> typing.Iterator[ContainerHost]:
    host = ContainerHost("docker")
    try:
        yield host
    finally:
        host.remove()


def test_the_instance_answers_out_of_its_container(host: ContainerHost) -> None:
    assert (
        "llama_server_image: expected an image that is here or in a registry, found localhost/llama-fleet-base:trixie, "
        "which cannot be fetched: "
    ) in host.bad()
    host.load()
    result = host.good()
    assert (result["runtime"], result["restarted"], result["ready"]) == ("docker", True, True)
    assert "Paris" in host.says()


def test_its_process_may_do_nothing_and_the_key_is_nowhere_else(host: ContainerHost) -> None:
    status = host.status()
    user = status["Uid"].split()[0]
    assert [status[name] for name in ("CapEff", "CapBnd", "CapAmb", "NoNewPrivs")] == ["0" * 16] * 3 + ["1"]
    assert 60578 <= int(user) < 61184
    process = f"/proc/{host.inspect('{{.State.Pid}}')}"
    assert "Read-only file system" in host.output(f"touch {process}/root/written 2>&1 || true")
    assert host.output(f"stat --format '%a %u' {process}/root/run/llama-fleet-default/api-key").split() == ["400", user]
    assert KEY not in host.output(
        f"cat {process}/cmdline {process}/environ; docker inspect llama-fleet-default; docker logs "
        f"llama-fleet-default 2>&1"
    )


@pytest.mark.parametrize("name", ["cpu", "cuda", "slots"])
def test_compose_understands_every_key(host: ContainerHost, name: str) -> None:
    host.output(
        "docker compose --project-name test --file - config --quiet",
        (GOLDEN / f"{name}.compose.yaml").read_text(encoding="utf-8"),
    )


def test_a_second_run_leaves_it_alone(host: ContainerHost) -> None:
    before = host.inspect("{{.Id}} {{.State.StartedAt}}")
    result = host.good()
    assert (result["changed"], result["restarted"]) == (False, False)
    assert host.inspect("{{.Id}} {{.State.StartedAt}}") == before


def test_a_changed_option_is_one_restart(host: ContainerHost) -> None:
    before = host.inspect("{{.Id}}")
    assert host.good(parallel=1, alias='50 % of $HOME "quoted"', extra_options={"tags": "a $b ${HOME}"})["restarted"]
    assert host.inspect("{{.Id}}") != before
    assert host.ask("/v1/models")["data"][0]["id"] == '50 % of $HOME "quoted"'
    words = host.command()
    assert words[words.index("--tags") + 1] == "a $b ${HOME}"


def test_it_comes_back_with_the_daemon(host: ContainerHost) -> None:
    host.good()
    host.output("systemctl restart docker.service")
    host.output("until curl --silent --fail http://127.0.0.1:8080/health; do sleep 0.2; done")
    assert not host.good()["changed"]


def test_it_stops_in_its_time_though_a_request_is_open(host: ContainerHost) -> None:
    host.good(stop_timeout=3)
    print(f"stopped with an open request, limit 3 s: {host.stop_while_busy():.1f} s")
    assert host.output("docker ps --quiet") == ""
    assert not host.module(state="stopped", runtime="docker")["changed"]
    host.output("systemctl restart docker.service")
    assert host.output("docker ps --quiet") == "", "what was stopped stays so"


def test_slots_are_saved_where_only_its_user_may_write(host: ContainerHost) -> None:
    count = host.saved_slot()
    assert host.ask("/slots/0?action=restore", {"filename": "one.bin"})["n_restored"] == count


def test_another_runtime_takes_over(host: ContainerHost) -> None:
    host.good()
    assert host.good(runtime="systemd")["restarted"]
    assert host.output("docker ps --all --quiet") == ""
    assert host.good()["restarted"]
    assert host.output("test -e /etc/systemd/system/llama-fleet-default.service || echo gone").strip() == "gone"
    assert "Paris" in host.says()


def test_nothing_is_left_of_it(host: ContainerHost) -> None:
    assert host.module(state="absent", runtime="docker")["changed"]
    assert host.leftovers() == []
