# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test an instance in a container of Podman's Quadlet: started, unchanged, changed, stopped, made a unit, removed.

The tests build on each other, in order.
"""

from __future__ import annotations

import pathlib
import typing

import pytest

from tests.server.containers import ContainerHost
from tests.server.host import KEY, MODELS, wait_for

pytestmark = pytest.mark.e2e

UNIT = "/run/systemd/generator/llama-fleet-default.service"


@pytest.fixture(scope="module")
def host() -> typing.Iterator[ContainerHost]:
    host = ContainerHost("podman")
    try:
        yield host
    finally:
        host.remove()


def test_an_image_that_nobody_has_is_told(host: ContainerHost) -> None:
    assert (
        "llama_server_image: expected an image that is here or in a registry, found localhost/llama-fleet-base:trixie, "
        "which cannot be fetched: "
    ) in host.bad()
    assert host.leftovers() == []


def test_the_instance_answers_out_of_its_container(host: ContainerHost) -> None:
    host.load()
    result = host.good()
    assert (result["runtime"], result["restarted"], result["ready"]) == ("quadlet", True, True)
    assert "Paris" in host.says()
    assert host.output("systemctl is-enabled llama-fleet-default || true").strip() == "generated"


def test_its_process_may_do_nothing(host: ContainerHost) -> None:
    status = host.status()
    user = status["Uid"].split()[0]
    assert [status[name] for name in ("CapEff", "CapBnd", "CapAmb", "NoNewPrivs")] == ["0" * 16] * 3 + ["1"]
    assert 60578 <= int(user) < 61184
    root = f"/proc/{host.inspect('{{.State.Pid}}')}/root"
    assert "Read-only file system" in host.output(f"touch {root}/written 2>&1 || true")
    assert host.output(f"stat --format '%a %u' {root}/run/llama-fleet-default/api-key").split() == ["400", user]


def test_the_key_is_nowhere_else(host: ContainerHost) -> None:
    process = f"/proc/{host.inspect('{{.State.Pid}}')}"
    assert KEY not in host.output(
        f"cat {process}/cmdline {process}/environ {UNIT}; podman inspect llama-fleet-default; journalctl --no-pager"
    )


def test_systemd_understands_what_podman_made_of_it(host: ContainerHost) -> None:
    assert host.output(f"systemd-analyze verify {UNIT} 2>&1") == ""


def test_a_second_run_leaves_it_alone(host: ContainerHost) -> None:
    before, reloads = host.inspect("{{.Id}} {{.State.StartedAt}}"), host.reloads()
    result = host.good()
    assert (result["changed"], result["restarted"]) == (False, False)
    assert (host.inspect("{{.Id}} {{.State.StartedAt}}"), host.reloads()) == (before, reloads)


def test_a_changed_option_is_one_restart_without_a_reload(host: ContainerHost) -> None:
    before, reloads = host.inspect("{{.Id}}"), host.reloads()
    assert host.good(parallel=1, alias='50 % of $HOME "quoted"')["restarted"]
    assert host.inspect("{{.Id}}") != before
    assert host.reloads() == reloads
    assert (
        host.output("journalctl --unit llama-fleet-default --no-pager | grep -c 'Stopped llama-fleet-default'").strip()
        == "1"
    )
    assert host.ask("/v1/models")["data"][0]["id"] == '50 % of $HOME "quoted"'


def test_flags_low_ports_and_tls_mean_what_they_mean_without_a_container(host: ContainerHost) -> None:
    tags = "a b$c${HOME}%d\"e'f\\g"
    host.output(
        "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=localhost -days 2 -keyout /root/tls.key -out "
        "/root/tls.pem 2>&1"
    )
    host.good(extra_options={"tags": tags}, port=443, tls_certificate="/root/tls.pem", tls_key="/root/tls.key")
    words = host.command()
    assert words[words.index("--tags") + 1] == tags
    assert host.output("curl --silent --fail --cacert /root/tls.pem https://localhost:443/health")
    assert "BEGIN" not in host.output(
        f"cat {UNIT}; podman inspect llama-fleet-default; journalctl --no-pager --unit llama-fleet-default"
    )


def test_a_mistake_does_not_touch_it(host: ContainerHost) -> None:
    before = host.inspect("{{.Id}}")
    assert "llama_server_extra_options" in host.bad(extra_options={"frobnicate": True})
    assert "llama_server_image" in host.bad(image="localhost/llama-fleet-base:absent")
    assert host.inspect("{{.Id}}") == before


def test_it_stops_in_its_time_though_a_request_is_open(host: ContainerHost) -> None:
    host.good(stop_timeout=3)
    print(f"stopped with an open request, limit 3 s: {host.stop_while_busy():.1f} s")
    assert host.output("podman ps --quiet") == ""
    assert not host.module(state="stopped", runtime="quadlet")["changed"]


def test_a_model_that_comes_late_is_served_as_soon_as_it_is_there(host: ContainerHost) -> None:
    late = "/srv/late"
    host.output(f"mkdir -p {late} && cp {MODELS}/*.gguf {late}")
    host.good(model=f"{late}/{pathlib.PurePosixPath(host.model).name}")
    host.output(f"systemctl stop llama-fleet-default && mv {late} {late}.locked")
    host.output("systemctl start --no-block llama-fleet-default")
    wait_for(lambda: int(host.show("NRestarts")) >= 6, 300)
    host.output(f"mv {late}.locked {late}")
    wait_for(host.healthy, 180)
    assert "Paris" in host.says()


def test_slots_are_saved_where_only_its_user_may_write(host: ContainerHost) -> None:
    count = host.saved_slot()
    assert host.ask("/slots/0?action=restore", {"filename": "one.bin"})["n_restored"] == count


def test_another_runtime_takes_over(host: ContainerHost) -> None:
    host.good()
    result = host.good(runtime="systemd")
    assert (result["restarted"], host.output("podman ps --all --quiet")) == (True, "")
    assert host.pid() == result["pid"]
    assert host.show("FragmentPath") == "/etc/systemd/system/llama-fleet-default.service"
    assert host.good()["restarted"]
    assert host.show("FragmentPath") == UNIT
    assert "Paris" in host.says()


def test_nothing_is_left_of_it(host: ContainerHost) -> None:
    assert host.module(state="absent", runtime="quadlet")["changed"]
    assert host.leftovers() == []
    assert not host.module(state="absent", runtime="quadlet")["changed"]
