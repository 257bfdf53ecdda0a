# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Provide a real host for the module llama_server: Debian with systemd as its first process, in podman.

The module runs there as Ansible would run it, with that host's own Python. Releases and models are this machine's,
read-only. LLAMA_FLEET_TEST_CACHE holds what tests/run has made.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import shlex
import subprocess
import threading
import time
import typing
import urllib.error
import urllib.request
import uuid

import ansible

from tests.hosts import podman

ROOT = pathlib.Path(__file__).resolve().parents[2]
CACHE = pathlib.Path(os.environ.get("LLAMA_FLEET_TEST_CACHE", ""))
MODULE = "/srv/python/ansible_collections/llama_fleet/core/plugins/modules/{}.py"
RELEASES = "/opt/llama-fleet/releases"
MODELS = "/var/lib/llama-fleet/models"
KEY = "only-for-this-test"
PORT = 8080
SAVED = "/var/lib/llama-fleet/instances/default"
Facts = dict[str, typing.Any]


def wait_for(condition: typing.Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


# With cgroups v1, podman shows a container that one hierarchy of the machine as a whole, and systemd then leaves the
# others alone.
LIMITING = "umount /sys/fs/cgroup/systemd/release_agent /sys/fs/cgroup/systemd 2>/dev/null; exec /sbin/init"


class Host:
    """One host with the releases of a folder; ``options`` are further ones of podman.

    A ``limiting`` host can hold a unit to its limits.
    """

    def __init__(
        self,
        *options: str,
        image: podman.Image = podman.HOSTS[0],
        releases: pathlib.Path = CACHE / "machine" / "releases",
        limiting: bool = False,
    ) -> None:
        self.name = f"llama-fleet-server-{uuid.uuid4().hex[:8]}"
        newest = max(releases.glob("*/manifest.json"), key=lambda file: file.stat().st_mtime).parent.name
        self.release = f"{RELEASES}/{newest}"
        shard = next((CACHE / "hub" / "repos").glob("*/*/*-00001-of-*.gguf"))
        self.model = f"{MODELS}/{shard.name}"
        mounts = {
            releases: RELEASES,
            shard.parent: MODELS,
            ROOT / "collections" / "ansible_collections": "/srv/python/ansible_collections",
            pathlib.Path(ansible.__file__).parent: "/srv/python/ansible",
            ROOT / "tests" / "server": "/srv/tests",
        }
        volumes = [word for source, target in mounts.items() for word in ("--volume", f"{source}:{target}:ro")]
        private, command = (["--cgroupns=private"], ["/bin/sh", "-c", LIMITING]) if limiting else ([], ["/sbin/init"])
        words = [
            "podman",
            "run",
            "--detach",
            "--systemd=always",
            "--privileged",
            "--name",
            self.name,
            *private,
            *volumes,
            *options,
            image.name,
            *command,
        ]
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
        self._await_start()

    def reboot(self) -> None:
        """Restart the host, which gets another address."""
        subprocess.run(["podman", "restart", "--time", "10", self.name], check=True, stdout=subprocess.DEVNULL)
        self._await_start()

    def _await_start(self) -> None:
        self.output(podman.STARTED)
        self.address = self._inspect("{{.NetworkSettings.IPAddress}}")
        self.gateway = self._inspect("{{.NetworkSettings.Gateway}}")

    def _inspect(self, template: str) -> str:
        return subprocess.run(
            ["podman", "inspect", "--format", template, self.name], capture_output=True, text=True, check=True
        ).stdout.strip()

    def output(self, command: str, given: str = "") -> str:
        """Return what a shell command on the host prints."""
        done = subprocess.run(
            ["podman", "exec", "--interactive", self.name, "sh", "-ec", command],
            input=given,
            capture_output=True,
            text=True,
            check=False,
            timeout=900,
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def arguments(self, **changed: typing.Any) -> Facts:
        """Return the arguments of the instance that most tests begin with, changed by ``changed``."""
        usual = {
            "release": self.release,
            "model": self.model,
            "host": "0.0.0.0",
            "port": PORT,
            "api_key": KEY,
            "parallel": 2,
            "ctx_size": 256,
            "threads": 1,
        }
        return {**usual, **changed}

    def module(self, name: str = "llama_server", **arguments: typing.Any) -> Facts:
        """Run a module with exactly these arguments and return its result."""
        text = json.dumps({"ANSIBLE_MODULE_ARGS": {**arguments, "_ansible_remote_tmp": "/tmp"}})
        path = MODULE.format(name)
        environment = ["--env", "PYTHONPATH=/srv/python", "--env", "PYTHONPYCACHEPREFIX=/var/cache/python"]
        words = ["podman", "exec", "--interactive", *environment, self.name, "python3", path]
        done = subprocess.run(words, input=text, capture_output=True, text=True, check=False, timeout=900)
        assert "Traceback" not in done.stdout + done.stderr, done.stdout + done.stderr
        return typing.cast("Facts", json.loads(done.stdout[done.stdout.index("{") :]))

    def good(self, **changed: typing.Any) -> Facts:
        result = self.module(**self.arguments(**changed))
        assert not result.get("failed"), result["msg"]
        return result

    def bad(self, **changed: typing.Any) -> str:
        """Return the message of a run that must fail."""
        result = self.module(**self.arguments(**changed))
        assert result.get("failed"), result
        assert KEY not in json.dumps(result)
        return str(result["msg"])

    def pid(self, instance: str = "default") -> int:
        return int(self.output(f"systemctl show --property MainPID --value llama-fleet-{instance}"))

    def show(self, name: str, instance: str = "default", unit: str = "") -> str:
        wanted = unit or f"llama-fleet-{instance}"
        return self.output(f"systemctl show --property {shlex.quote(name)} --value {wanted}").strip()

    def healthy(self) -> bool:
        """Return whether the server answers that it is ready."""
        try:
            return self.ask("/health").get("status") == "ok"
        except OSError:
            return False

    def ask(self, path: str, payload: Facts | None = None, port: int = PORT) -> Facts:
        """Return the server's answer as JSON, asked from another host."""
        data = None if payload is None else json.dumps(payload).encode()
        request = urllib.request.Request(
            f"http://{self.address}:{port}{path}",
            data,
            {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=300) as answer:
            return typing.cast("Facts", json.load(answer))

    def certificate(self, folder: pathlib.Path) -> Facts:
        """Make a certificate for the host's address, readable by root only; return the arguments for it.

        ``folder`` gets the files as well.
        """
        words = [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-keyout",
            f"{folder}/key",
            "-out",
            f"{folder}/pem",
            "-days",
            "2",
        ]
        subprocess.run(
            [*words, "-subj", "/CN=box", "-addext", f"subjectAltName=IP:{self.address}"],
            check=True,
            stderr=subprocess.DEVNULL,
        )
        for name in ("pem", "key"):
            self.output(
                f"umask 077 && mkdir -p /etc/llm && cat > /etc/llm/{name}", (folder / name).read_text(encoding="ascii")
            )
        return {"tls_certificate": "/etc/llm/pem", "tls_key": "/etc/llm/key"}

    def says(self) -> str:
        """Return a few words that the model generates."""
        return str(
            self.ask("/completion", {"prompt": "The capital of France is", "n_predict": 6, "temperature": 0})["content"]
        )

    def saved_slot(self) -> int:
        """Let the instance save a slot to a file that only its user may write; return the slot's tokens."""
        result = self.good(allow=["slots"], extra_options={"slot-save-path": "slots"})
        self.ask("/completion", {"prompt": "One, two, three", "n_predict": 4, "id_slot": 0})
        count = int(self.ask("/slots/0?action=save", {"filename": "one.bin"})["n_saved"])
        owner = self.output(f"stat -c %u /proc/{result['pid']}").strip()
        assert (owner != "0", count > 0) == (True, True)
        assert self.output(f"stat -c '%a %u' {SAVED}; stat -c %u {SAVED}/slots/one.bin").split() == [
            "700",
            owner,
            owner,
        ]
        return count

    def take_port(self, port: int) -> None:
        """Let another program, the unit "taken", listen on the port."""
        self.output(f"systemd-run --unit taken python3 -m http.server {port}")
        self.output(f"until ss --no-header --listening --tcp 'sport = :{port}' | grep --quiet .; do sleep 0.1; done")

    @contextlib.contextmanager
    def watched(self) -> typing.Iterator[list[str]]:
        """Ask the server constantly; yield a list of the requests that were not answered."""
        failures: list[str] = []
        over = threading.Event()

        def watch() -> None:
            while not over.wait(0.1):
                try:
                    self.ask("/v1/models")
                except (OSError, urllib.error.HTTPError) as error:
                    failures.append(f"{time.monotonic():.2f}: {error}")

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            yield failures
        finally:
            over.set()
            watcher.join()

    def remove(self) -> None:
        subprocess.run(["podman", "rm", "--force", "--time", "0", self.name], check=True, stdout=subprocess.DEVNULL)
