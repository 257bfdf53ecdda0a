# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Run doctor over SSH on a real host that has systemd and neither a GPU nor a compiler."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import typing

import pytest

from tests.hosts import podman
from tests.hub.server import Hub
from tests.server.host import CACHE, ROOT, Facts, Host

if typing.TYPE_CHECKING:
    import pathlib

pytestmark = pytest.mark.e2e

TAKEN = 9001


@pytest.fixture(scope="module")
def host() -> typing.Iterator[Host]:
    made = Host(image=podman.HOSTS[1])
    try:
        gateway = made.output("ip route show default").split()[2]
        made.output(f"printf '[global]\\ntrusted-host = {gateway}\\n' > /etc/pip.conf")
        made.take_port(TAKEN)
        yield made
    finally:
        made.remove()


@pytest.fixture(scope="module")
def reached(host: Host, tmp_path_factory: pytest.TempPathFactory) -> Facts:
    """Return how Ansible reaches the host."""
    key = tmp_path_factory.mktemp("ssh") / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    host.output(
        "mkdir -p -m 0700 /root/.ssh && cat > /root/.ssh/authorized_keys",
        key.with_suffix(".pub").read_text(encoding="utf-8"),
    )
    arguments = (
        f"-o UserKnownHostsFile={key.parent}/known_hosts -o StrictHostKeyChecking=accept-new -o IdentitiesOnly=yes"
    )
    usual = {
        "ansible_user": "root",
        "ansible_python_interpreter": "/usr/bin/python3",
        "ansible_ssh_common_args": arguments,
    }
    return {**usual, "ansible_host": host.address, "ansible_ssh_private_key_file": str(key)}


@pytest.fixture(scope="module")
def hub(host: Host) -> typing.Iterator[Hub]:
    with Hub(CACHE / "hub", host.output("ip route show default").split()[2]) as served:
        yield served


class Doctor(typing.NamedTuple):
    """A doctor for several inventory hosts that are all the same host, each with its own variables."""

    folder: pathlib.Path
    variables: Facts

    def __call__(self, hosts: dict[str, Facts], *options: str) -> subprocess.CompletedProcess[str]:
        inventory = self.folder / "hosts.json"
        inventory.write_text(json.dumps({"all": {"hosts": hosts, "vars": self.variables}}), encoding="utf-8")
        words = [sys.executable, "-m", "llama_fleet", "doctor", "-i", str(inventory), *options]
        environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT / 'collections'}"}
        return subprocess.run(words, env=environment, capture_output=True, text=True, check=False, timeout=600)


@pytest.fixture
def doctor(reached: Facts, hub: Hub, tmp_path: pathlib.Path) -> Doctor:
    index = {f"{role}_index_url": f"{hub.url}/simple" for role in ("llama_cpp", "gguf_model", "cuda_toolkit")}
    repository = next((CACHE / "hub" / "repos").glob("*/*"))
    model = {"gguf_model_source": f"{repository.parent.name}/{repository.name}", "gguf_model_endpoint": hub.url}
    return Doctor(tmp_path, {**reached, **index, **model, "llama_fleet_asks_for_newest": False})


def test_without_a_gpu_a_host_will_do(host: Host, doctor: Doctor) -> None:
    before = host.output(
        "find /opt /var/lib/llama-fleet /etc/llama-fleet /root 2>/dev/null | grep -v '/.ansible' || true"
    )
    done = doctor({"h1": {}})
    assert done.returncode == 0, done.stdout + done.stderr
    table = {row[1]: row[2:] for row in (re.split(r" {2,}", line.strip()) for line in done.stdout.splitlines()[1:])}
    assert table["GPU"] == ["ok", "no NVIDIA device on the PCI bus"]
    assert table["llama_server_runtime"] == ["ok", "systemd"]
    assert table["compiler"] == ["ok", "none of g++; the packages will be installed"]
    assert table["clock"] == ["ok", "right to the minute"]
    assert (
        host.output("find /opt /var/lib/llama-fleet /etc/llama-fleet /root 2>/dev/null | grep -v '/.ansible' || true")
        == before
    )


def test_every_reason_why_a_host_will_fail(doctor: Doctor) -> None:
    hosts: dict[str, Facts] = {
        "gpu": {"nvidia_driver_gpu": "required"},
        "port": {"llama_server_port": TAKEN},
        "compiler": {"llama_cpp_install_packages": False},
        "typo": {"llama_server_prot": 1},
        "silent": {
            "llama_server_instances": {
                "a": {"gguf_model_endpoint": "http://127.0.0.1:9"},
                "b": {"llama_server_port": 8081},
            }
        },
        "far": {"ansible_host": "127.0.0.1", "ansible_port": 9},
    }
    done = doctor(hosts, "--query", "[?severity!='ok'].[host, code, severity, subject]")
    assert json.loads(done.stdout) == [
        ["compiler", "compiler", "error", "compiler"],
        ["far", "unreachable", "error", "host"],
        ["gpu", "no_device", "error", "GPU"],
        ["port", "port", "error", "llama_server_port"],
        ["silent", "hub", "error", "gguf_model_endpoint of instance a"],
        ["typo", "variables", "error", "llama_server_prot"],
    ], done.stderr
    assert done.returncode == 3


def test_json_for_machines_and_two_for_what_will_fail(doctor: Doctor) -> None:
    done = doctor({"gpu": {"nvidia_driver_gpu": "required"}}, "--json")
    found = json.loads(done.stdout)
    assert done.returncode == 2
    assert {tuple(row) for row in found} == {("host", "code", "severity", "subject", "found", "wanted", "fix")}
    assert next(row["fix"] for row in found if row["severity"] == "error")
