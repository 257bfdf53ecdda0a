# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Run the README's commands as a user with sudo on a bare host with systemd; then its fleet, over SSH.

The host has neither a compiler nor Python's venv. It is a container of the image that molecule uses. The tests build on
each other, in order.
"""

import os
import pathlib
import re
import subprocess
import sys
import urllib.request
import uuid
from collections.abc import Iterator

import pytest

from tests.e2e import test_readme
from tests.hosts import podman
from tests.hub.server import Hub

pytestmark = pytest.mark.e2e

ROOT = pathlib.Path(__file__).resolve().parents[2]
CERTIFICATES = pathlib.Path("/etc/ssl/certs/ca-certificates.crt")
# The user of inventories/example.
USER = "admin"
# The files of a clone, including uncommitted ones.
FILES = "git ls-files -z --cached --others --exclude-standard | tar --create --null --files-from=-"
# The hosts of inventories/example: two are the test's host, two refuse the connection.
SSH = """\
Host *.example.com
IdentityFile {key}
IdentitiesOnly yes
StrictHostKeyChecking accept-new
UserKnownHostsFile {folder}/known_hosts
Host cpu-1.example.com gpu-1.example.com
HostName {address}
Host *-2.example.com
HostName 127.0.0.1
Port 9
"""


class Host:
    """A Debian 13 with systemd as its first process."""

    def __init__(self, name: str) -> None:
        self.name = name

    def output(self, *command: str, user: str = "root", check: bool = True) -> str:
        """Return what a command on the host prints, including errors."""
        words = [
            "podman",
            "exec",
            "--user",
            user,
            "--workdir",
            "/home/admin" if user == USER else "/",
            self.name,
            *command,
        ]
        done = subprocess.run(
            words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=2400
        )
        assert done.returncode == 0 or not check, done.stdout
        return done.stdout

    def run(self, command: str) -> str:
        """Run a command of the README."""
        return self.output("sh", "-c", f"cd llama-fleet && {command}", user=USER)

    def inspect(self, template: str) -> str:
        done = subprocess.run(
            ["podman", "inspect", "--format", template, self.name], capture_output=True, text=True, check=True
        )
        return done.stdout.strip()


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    file = tmp_path_factory.mktemp("ssh") / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", file], check=True)
    return file


def add_user(host: Host, key: pathlib.Path) -> None:
    """Give the host a user with sudo, an SSH key and the files of a clone, once it has started."""
    host.output("sh", "-c", podman.STARTED)
    host.output("useradd", "--create-home", "--shell", "/bin/bash", USER)
    host.output("sh", "-c", f"echo '{USER} ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/{USER}")
    public = key.with_suffix(".pub").read_text()
    folders = f"mkdir -m 0700 .ssh && echo '{public}' > .ssh/authorized_keys && mkdir llama-fleet"
    host.output("sh", "-c", folders, user=USER)
    into = f"podman exec --interactive --user {USER} {host.name} tar --extract --directory /home/{USER}/llama-fleet"
    subprocess.run(["sh", "-c", f"{FILES} | {into}"], cwd=ROOT, check=True)


@pytest.fixture(scope="module")
def host(key: pathlib.Path) -> Iterator[Host]:
    host = Host(f"llama-fleet-host-{uuid.uuid4().hex[:8]}")
    # The package index may use a certificate authority that only this machine knows.
    trust = ["--volume", f"{CERTIFICATES}:{CERTIFICATES}:ro", "--env", f"PIP_CERT={CERTIFICATES}"]
    # The role's compiler cache.
    cache = ["--volume", f"{os.environ['LLAMA_FLEET_TEST_CCACHE']}:/opt/llama-fleet/cache/compiler"]
    image = podman.HOSTS[1].name
    start = ["podman", "run", "--detach", "--systemd=always", "--privileged", "--name", host.name]
    subprocess.run([*start, *trust, *cache, image, "/sbin/init"], check=True)
    try:
        add_user(host, key)
        yield host
    finally:
        subprocess.run(["podman", "rm", "--force", "--time", "0", host.name], check=True, stdout=subprocess.DEVNULL)


def test_up_makes_a_unit_that_answers(host: Host) -> None:
    assert "g++" not in host.output("dpkg-query", "--show", "--showformat", "${Package} ")
    printed = host.run(test_readme.UP)
    assert "http://127.0.0.1:8080" in printed
    assert host.output("systemctl", "is-active", "llama-fleet-default").strip() == "active"
    assert host.output("curl", "--silent", "--fail", "http://127.0.0.1:8080/health")


def test_up_again_changes_nothing(host: Host) -> None:
    assert "changed=0" in host.run(test_readme.UP)


def test_down_leaves_nothing_running(host: Host) -> None:
    host.run(test_readme.DOWN)
    assert host.output("systemctl", "is-active", "llama-fleet-default", check=False).strip() == "inactive"
    assert not host.output(
        "sh", "-c", "find /proc -maxdepth 2 -name exe -lname '*llama-server*' 2>/dev/null", check=False
    )


def run_fleet(settings: pathlib.Path, *variables: str) -> str:
    """Run the README's play with an SSH configuration and these variables, and return what it prints."""
    environment = {**os.environ, "ANSIBLE_SSH_COMMON_ARGS": f"-F {settings}", "LLAMA_API_KEY": "only-for-this-test"}
    program, *arguments = test_readme.FLEET.split()
    return subprocess.run(
        [
            str(pathlib.Path(sys.executable).parent / program),
            *arguments,
            *(word for variable in variables for word in ("-e", variable)),
        ],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=2400,
    ).stdout


def test_the_fleet(host: Host, key: pathlib.Path, readme_hub: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Run the play: one host works, one of the GPU group has no GPU, and two cannot be reached."""
    address, gateway = host.inspect("{{.NetworkSettings.IPAddress}}"), host.inspect("{{.NetworkSettings.Gateway}}")
    settings = tmp_path / "ssh_config"
    settings.write_text(SSH.format(key=key, folder=tmp_path, address=address), encoding="utf-8")
    with Hub(readme_hub, gateway) as hub:
        cache = f"llama_cpp_controller_cache={tmp_path}/releases"
        printed = run_fleet(settings, f"gguf_model_endpoint={hub.url}", cache, "llama_server_threads=1")
    recap = printed.partition("PLAY RECAP")[2]
    ended = {
        name: (int(unreachable), int(failed))
        for name, unreachable, failed in re.findall(r"(\S+)\.example\.com .* unreachable=(\d+) +failed=(\d+)", recap)
    }
    assert ended == {"cpu-1": (0, 0), "gpu-1": (0, 1), "cpu-2": (1, 0), "gpu-2": (1, 0)}, printed
    assert "no NVIDIA device on the PCI bus" in printed
    with urllib.request.urlopen(f"http://{address}:8080/health", timeout=60) as answer:
        assert answer.status == 200
