# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test several instances on a real host, shown and rolled back from another machine, and the kernel's limits.

The tests build on each other, in order.
"""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import typing

import pytest

from tests.server.host import KEY, MODELS, ROOT, Facts, Host

pytestmark = pytest.mark.e2e

EMBED_PORT, ROUTER_PORT = 8081, 8082
EMBED = {"instance": "second", "port": EMBED_PORT, "parallel": 1}
ROUTER: Facts = {
    "instance": "router",
    "port": ROUTER_PORT,
    "model": "",
    "allow": ["router"],
    "extra_options": {"models-dir": MODELS},
}


@pytest.fixture(scope="module")
def host() -> typing.Iterator[Host]:
    made = Host(limiting=True)
    try:
        yield made
    finally:
        made.remove()


@pytest.fixture(scope="module")
def cli(host: Host, tmp_path_factory: pytest.TempPathFactory) -> typing.Callable[..., subprocess.CompletedProcess[str]]:
    """Return a function that runs the command on this machine, reaching the host over SSH."""
    folder = tmp_path_factory.mktemp("controller")
    key = folder / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    host.output(
        "mkdir -p -m 0700 /root/.ssh && cat > /root/.ssh/authorized_keys",
        key.with_suffix(".pub").read_text(encoding="utf-8"),
    )
    inventory = folder / "hosts.yml"
    how = f"-o IdentitiesOnly=yes -o StrictHostKeyChecking=accept-new -o UserKnownHostsFile={folder}/known_hosts"
    variables = {
        "ansible_host": host.address,
        "ansible_user": "root",
        "ansible_ssh_private_key_file": str(key),
        "ansible_ssh_common_args": how,
    }
    inventory.write_text(json.dumps({"all": {"hosts": {"box": variables}}}), encoding="utf-8")
    environment = {
        **os.environ,
        "PYTHONPATH": f"{ROOT / 'src'}:{ROOT / 'collections'}",
        "ANSIBLE_HOME": str(folder),
        "PATH": f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}",
    }

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "llama_fleet", *words, "-i", str(inventory)]
        return subprocess.run(
            command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300
        )

    return run


def limit(host: Host, instance: str, old: str, new: str) -> str:
    """Return the value of a file of the unit's control group, for either version of control groups."""
    group = host.show("ControlGroup", instance)
    return host.output(
        f"cat /sys/fs/cgroup{group}/{new} 2>/dev/null || cat /sys/fs/cgroup/{old.partition('.')[0]}{group}/{old}"
    ).strip()


def test_each_has_its_own_generations(host: Host) -> None:
    first, second = host.good(), host.good(**EMBED)
    assert (first["generation"], second["generation"]) == (1, 1)
    changed = host.good(**EMBED, ctx_size=300)
    assert (changed["generation"], changed["restarted"]) == (2, True)
    assert (host.pid(), host.pid("second")) == (first["pid"], changed["pid"])
    assert not host.good()["changed"]
    assert host.ask("/props", port=EMBED_PORT)["total_slots"] == 1
    assert host.ask("/props")["total_slots"] == 2
    assert "llama_server_port" in host.bad(**{**EMBED, "port": 8080}), "the other one has it"


def test_they_are_told_of_and_taken_back_by_name(
    host: Host, cli: typing.Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    pid = host.pid()
    told = cli("status", "--query", "[].[host, instance, state, generation, drift]")
    assert (json.loads(told.stdout), told.returncode) == (
        [["box", "default", "running", 1, []], ["box", "second", "running", 2, []]],
        0,
    ), told.stderr
    back = cli("rollback", "second")
    assert back.returncode == 0, back.stdout + back.stderr
    listed = cli("generations", "second", "--query", "[?current].[instance, number]")
    assert json.loads(listed.stdout) == [["second", 1]]
    assert (host.pid(), host.ask("/props", port=EMBED_PORT)["default_generation_settings"]["n_ctx"]) == (pid, 256)
    host.good(**EMBED, state="stopped")
    stopped = cli("status", "--query", "[].[instance, state]")
    assert (json.loads(stopped.stdout), stopped.returncode) == ([["default", "running"], ["second", "stopped"]], 0)
    host.output("systemctl disable --now llama-fleet-default")
    ended = cli("status", "default")
    assert (ended.returncode, "although it was not stopped" in ended.stdout) == (1, True)
    assert host.good()["restarted"]


def test_the_kernel_holds_it_to_its_limits(host: Host) -> None:
    host.good(memory_max="600M", cpu_quota="150%")
    assert limit(host, "default", "memory.limit_in_bytes", "memory.max") == str(600 << 20)
    quota = limit(host, "default", "cpu.cfs_quota_us", "cpu.max").split()[0]
    assert quota == "150000"
    assert "Paris" in host.says()


def test_one_that_wants_more_memory_than_it_may_have_gives_way_to_the_one_before(host: Host) -> None:
    """Start what the plan would refuse if it had not been turned off."""
    before = host.good(memory_max="600M", cpu_quota="150%")["generation"]
    message = host.bad(memory_max="80M", load_mode="none", memory_check=False)
    assert "more memory than llama_server_memory_max, 80 MiB" in message
    assert f"generation {before} is back in service" in message
    assert "Paris" in host.says()


def test_a_locked_model_is_locked(host: Host) -> None:
    """Lock as much as the machine allows: systemd sets a unit's limit, root a process's. Less is reported."""
    make = "from ansible_collections.llama_fleet.core.plugins.module_utils.gguf import tiny_model; import pathlib"
    host.output(
        f"PYTHONPATH=/srv/python python3 -c \"{make}; tiny_model.write_tiny_model(pathlib.Path('/srv/tiny.gguf'))\""
    )
    small = host.good(**EMBED, model="/srv/tiny.gguf", load_mode="mmap+mlock")
    assert host.show("LimitMEMLOCK", "second") != "8388608"
    assert locked(host, small["pid"]) > 0
    assert "warnings" not in small
    whole = host.good(**EMBED, load_mode="mmap+mlock", runtime="process")
    held = locked(host, whole["pid"])
    assert held > 0
    assert (held >= whole["memory"][0]["model_mib"] * 9 // 10 << 20) == (
        "locked memory" not in str(whole.get("warnings", ""))
    )
    assert host.good(**EMBED, state="absent")["changed"]


def locked(host: Host, pid: int) -> int:
    return int(host.output(f"sed -n 's/^VmLck:\\s*\\([0-9]*\\) kB/\\1/p' /proc/{pid}/status")) << 10


def test_a_router_serves_any_of_many_models(
    host: Host, cli: typing.Callable[..., subprocess.CompletedProcess[str]], tmp_path: pathlib.Path
) -> None:
    assert "models-dir" in host.bad(**{**ROUTER, "extra_options": {}})
    assert "llama_server_allow" in host.bad(**{**ROUTER, "allow": []})
    first = host.good(**ROUTER)
    assert (first["changed"], first["pid"]) == (True, host.pid("router"))
    models = [model["id"] for model in host.ask("/v1/models", port=ROUTER_PORT)["data"]]
    answer = host.ask(
        "/completion",
        {"model": models[0], "prompt": "The capital of France is", "n_predict": 6, "temperature": 0},
        ROUTER_PORT,
    )
    assert "Paris" in answer["content"]
    again = host.good(**ROUTER)
    assert (again["changed"], again["pid"]) == (False, first["pid"])
    told = cli("status", "router", "--query", "[].[state, drift, unknown]")
    assert json.loads(told.stdout) == [["running", [], []]], told.stderr
    assert KEY not in told.stdout
    # Its gate asks the router over TLS for a generation by a model whose own server uses plain HTTP.
    assert host.good(**ROUTER, **host.certificate(tmp_path))["endpoint"].startswith("https://")
    assert host.good(**ROUTER, state="absent")["changed"]
    assert host.output("pgrep -c llama-server || true").strip() == "1"
