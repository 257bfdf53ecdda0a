# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test an instance on a real host with a real model: started, changed, and never taken down by a mistake.

The tests build on each other, in order: each finds the instance answering and leaves it so.
"""

from __future__ import annotations

import json
import os
import pathlib
import socket
import subprocess
import threading
import typing
import uuid

import pytest

from tests.server.host import KEY, MODELS, PORT, RELEASES, SAVED, Facts, Host, wait_for

pytestmark = pytest.mark.e2e
KILLS = int(os.environ.get("LLAMA_FLEET_TEST_KILLS", "30"))


@pytest.fixture(scope="module")
def host() -> typing.Iterator[Host]:
    made = Host()
    try:
        yield made
    finally:
        made.remove()


@pytest.fixture(scope="module")
def first(host: Host) -> Facts:
    return host.good()


def altered(host: Host, serve: str) -> str:
    """Make a release whose server says of itself what is asked, and runs ``serve`` instead of serving."""
    folder = f"/opt/altered-{uuid.uuid4().hex[:6]}"
    script = f"""#!/bin/sh
server={host.release}/bin/llama-server
for word; do case $word in --help|--version|--list-devices) exec $server "$@";; esac; done
{serve}
"""
    host.output(
        f"mkdir -p {folder}/bin && cd {host.release} && cp manifest.json {folder} && cp bin/llama-fit-params bin/lib* "
        f"{folder}/bin"
    )
    host.output(f"cat > {folder}/bin/llama-server && chmod 755 {folder}/bin/llama-server", script)
    return folder


@pytest.fixture(scope="module")
def crashing(host: Host) -> str:
    return altered(host, "echo 'this release cannot serve' >&2; kill -ILL $$")


@pytest.fixture(scope="module")
def slow(host: Host) -> str:
    """Make a release that works a sixteenth of the time, far slower than on a busy machine."""
    return altered(host, '(while kill -STOP $$; do sleep 0.15; kill -CONT $$; sleep 0.01; done) & exec $server "$@"')


@pytest.fixture(scope="module")
def damaged(host: Host) -> str:
    """Make a model with random bytes in the middle of each of its files."""
    folder = "/srv/damaged"
    name = pathlib.PurePosixPath(host.model).name
    host.output(f"mkdir -p {folder} && cp {MODELS}/*.gguf {folder}")
    host.output(
        f"for file in {folder}/*.gguf; do size=$(stat -c %s $file); "
        "dd if=/dev/urandom of=$file bs=1M seek=$((size / 4 / 1048576)) count=$((size / 2 / 1048576)) conv=notrunc "
        "status=none; done"
    )
    return f"{folder}/{name}"


def test_it_starts(host: Host, first: Facts) -> None:
    assert (first["changed"], first["restarted"], first["generation"], first["runtime"]) == (True, True, 1, "systemd")
    assert first["pid"] == host.pid()
    assert "Paris" in host.says()


def test_a_second_run_leaves_it_alone(host: Host, first: Facts) -> None:
    with host.watched() as failures:
        again = host.good()
    assert (again["changed"], again["restarted"], again["pid"], failures) == (False, False, first["pid"], [])


def test_a_change_is_one_restart(host: Host, first: Facts) -> None:
    planned = host.good(ctx_size=300, _ansible_check_mode=True)
    assert (planned["changed"], planned["changed_parts"], host.pid()) == (True, ["llama_server_ctx_size"], first["pid"])
    changed = host.good(ctx_size=300)
    assert (changed["changed"], changed["restarted"], changed["changed_parts"]) == (
        True,
        True,
        ["llama_server_ctx_size"],
    )
    assert changed["pid"] == host.pid() != first["pid"]
    assert host.show("NRestarts") == "0"
    assert host.ask("/props")["default_generation_settings"]["n_ctx"] >= 300


def test_slots_are_saved_where_only_the_units_user_may_write(host: Host, first: Facts) -> None:
    assert first["changed"]
    count = host.saved_slot()
    host.output("systemctl restart llama-fleet-default")
    host.output("until curl --silent --fail http://127.0.0.1:8080/health; do sleep 1; done")
    assert host.ask("/slots/0?action=restore", {"filename": "one.bin"})["n_restored"] == count
    host.good(state="stopped")
    assert host.output(f"stat -c %u {SAVED} {SAVED}/slots/one.bin").split() == ["0", "0"]
    host.good(ctx_size=300)


MISTAKES: list[tuple[Facts, str]] = [
    ({"extra_options": {"flash-atn": "on"}}, "flash-attn"),
    ({"extra_options": {"draft-max": 3}}, "draft-max"),
    ({"extra_options": {"cache-type-k": "q9_9"}}, "llama_server_cache_type_k"),
    ({"cache_type_k": "q9_9"}, "q9_9"),
    ({"extra_options": {"tools": "all"}}, "tools"),
    ({"port": 0}, "llama_server_port"),
    ({"host": "192.0.2.1"}, "llama_server_host"),
    ({"api_key": ""}, "llama_server_allow_unauthenticated"),
    ({"ctx_size": 100_000}, "trained"),
    ({"ctx_size": 8192, "parallel": 256}, "MiB"),
    ({"parallel": 257}, "llama_server_parallel"),
    ({"model": f"{MODELS}/nothing.gguf"}, "llama_server_model"),
    ({"release": f"{RELEASES}/nothing"}, "llama_server_release"),
    ({"tls_certificate": "/etc/ssl/nothing.pem"}, "llama_server_tls"),
    ({"memory_max": "much"}, "llama_server_memory_max"),
    ({"runtime": "quadlet"}, "llama_server_image"),
    ({"state": "rolled_back", "to_generation": 99}, "99"),
]


@pytest.mark.parametrize(
    ("mistake", "cause"), MISTAKES, ids=[" ".join(mistake) + f"-{cause}" for mistake, cause in MISTAKES]
)
def test_a_mistake_takes_nothing_down(host: Host, first: Facts, mistake: Facts, cause: str) -> None:
    assert first["changed"]
    pid = host.pid()
    with host.watched() as failures:
        message = host.bad(**{"ctx_size": 300, **mistake})
    assert cause in message
    assert (host.pid(), failures) == (pid, [])


def test_a_port_that_is_taken(host: Host, first: Facts) -> None:
    assert first["changed"]
    pid = host.pid()
    host.take_port(9001)
    with host.watched() as failures:
        message = host.bad(ctx_size=300, port=9001)
    assert "llama_server_port" in message
    assert "python3" in message
    assert (host.pid(), failures) == (pid, [])
    host.output("systemctl stop taken")


def is_as_before(host: Host, before: Facts) -> None:
    """Check that the good generation serves again after a failed switch."""
    assert "Paris" in host.says()
    props = host.ask("/props")
    assert (props["model_path"], props["default_generation_settings"]["n_ctx"]) == (
        before["model_path"],
        before["default_generation_settings"]["n_ctx"],
    )
    again = host.good(ctx_size=300)
    assert (again["changed"], again["pid"]) == (False, host.pid())


def test_a_release_that_crashes(host: Host, first: Facts, crashing: str) -> None:
    assert first["changed"]
    before = host.ask("/props")
    message = host.bad(ctx_size=300, release=crashing)
    assert "SIGILL" in message
    assert "this release cannot serve" in message
    assert "back in service" in message
    is_as_before(host, before)


def test_a_model_with_random_bytes(host: Host, first: Facts, damaged: str) -> None:
    assert first["changed"]
    before = host.ask("/props")
    message = host.bad(ctx_size=300, model=damaged)
    assert "back in service" in message
    is_as_before(host, before)


def test_a_release_that_is_too_slow(host: Host, first: Facts, slow: str) -> None:
    assert first["changed"]
    before = host.ask("/props")
    message = host.bad(ctx_size=300, release=slow, min_speed_ratio=0.5, ready_timeout=900)
    assert "llama_server_min_speed_ratio" in message
    assert "back in service" in message
    is_as_before(host, before)


def test_back_and_forth(host: Host, first: Facts) -> None:
    assert first["changed"]
    newer = host.good(ctx_size=310)
    back = host.good(state="rolled_back")
    assert (back["changed"], back["restarted"]) == (True, True)
    assert back["generation"] < newer["generation"]
    assert (
        host.ask("/props")["default_generation_settings"]["n_ctx"]
        < host.good(ctx_size=1000, _ansible_check_mode=True)["context"]
    )
    forth = host.good(state="rolled_back", to_generation=newer["generation"])
    assert (forth["changed"], forth["generation"]) == (True, newer["generation"])
    assert not host.good(state="rolled_back", to_generation=newer["generation"])["changed"]
    assert "Paris" in host.says()


def test_the_key_is_nowhere(host: Host, first: Facts) -> None:
    assert first["changed"]
    pid = host.pid()
    assert KEY not in host.output(
        f"tr '\\0' ' ' < /proc/{pid}/cmdline; tr '\\0' ' ' < /proc/{pid}/environ; journalctl --no-pager; cat "
        f"/etc/systemd/system/llama-fleet-*"
    )
    found = host.output(
        f"grep --recursive --files-with-matches {KEY} /etc/llama-fleet /run/llama-fleet-default || true"
    ).split()
    assert found
    modes = host.output(f"stat --format %a {' '.join(found)}").split()
    assert set(modes) == {"400"}


def test_a_stop_waits_for_what_ends_and_for_nobody_else(host: Host, first: Facts) -> None:
    """Stop during a long answer, which llama-server itself would not wait for."""
    assert first["changed"]
    body = json.dumps({"prompt": "Once upon a time", "n_predict": 100_000, "ignore_eos": True})
    head = f"POST /completion HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection((host.address, PORT)) as client:
        client.sendall((head + body).encode())
        wait_for(lambda: any(slot["is_processing"] for slot in typing.cast("list[Facts]", host.ask("/slots"))))
        changed = host.good(stop_timeout=3, drain_timeout=4)
        assert (changed["in_flight"], changed["cut"], host.show("TimeoutStopUSec")) == (1, 1, "3s")
        assert "1 request was cut" in str(changed["warnings"])
    with socket.create_connection((host.address, PORT)) as client:
        client.sendall((head + body).encode())
        stopped = host.good(state="stopped", stop_timeout=3, drain_timeout=0)
    assert (stopped["changed"], stopped["cut"], host.show("ActiveState")) == (True, 1, "inactive")
    assert host.good()["restarted"]


@pytest.mark.parametrize(
    "change", [{"ctx_size": 320}, {"state": "rolled_back"}, {"state": "stopped"}], ids=["option", "rollback", "down"]
)
def test_what_a_client_has_asked_for_is_answered_before_a_change(host: Host, first: Facts, change: Facts) -> None:
    assert first["changed"]
    answers: list[Facts] = []
    # More than the slots can compute in the time before the run waits, however fast they are.
    asked = {"prompt": "Once upon a time", "n_predict": 240, "ignore_eos": True}
    clients = [threading.Thread(target=lambda: answers.append(host.ask("/completion", asked))) for _client in range(6)]
    for client in clients:
        client.start()
    wait_for(lambda: any(slot["is_processing"] for slot in typing.cast("list[Facts]", host.ask("/slots"))))
    changed = host.good(**change, drain_timeout=300)
    for client in clients:
        client.join(timeout=300)
    assert (changed["changed"], changed["cut"]) == (True, 0)
    assert 1 <= changed["in_flight"] <= 6
    assert [answer["tokens_predicted"] for answer in answers] == [240] * 6
    host.good()


def test_killed_at_any_moment(host: Host, first: Facts) -> None:
    assert first["changed"]
    words = ["podman", "exec", "--interactive", host.name, "python3", "/srv/tests/killed.py", str(KILLS)]
    done = subprocess.run(
        words, input=json.dumps(host.arguments()), capture_output=True, text=True, check=False, timeout=900
    )
    assert done.returncode == 0, done.stderr
    rounds = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(rounds) == KILLS
    assert [each for each in rounds if each["again"] or each["after"] or each["changed"] or each["left"]] == []
    assert "Paris" in host.says()


def test_nothing_is_left_of_it(host: Host, first: Facts) -> None:
    assert first["changed"]
    assert host.good(state="absent")["changed"]
    assert not host.good(state="absent")["changed"]
    assert host.output(f"test -e {SAVED} || echo gone").strip() == "gone"
    assert (
        not host.output("ls /etc/llama-fleet/instances /etc/systemd/system | grep default || true")
        .replace("default.target.wants", "")
        .strip()
    )
