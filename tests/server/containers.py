# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Provide a host with podman and docker, and a plain Debian image in which its release runs."""

from __future__ import annotations

import os
import pathlib
import subprocess
import threading
import time
import typing

from tests.hosts import podman
from tests.server.host import CACHE, Facts, Host, wait_for

# Made by the first of these tests, and not among the images that every run needs.
PACKAGES = "podman crun runc nftables iptables docker.io docker-cli docker-compose"
IMAGE = podman.Image("localhost/llama-fleet-host-containers:trixie", "trixie", f"{podman.HOST} {PACKAGES}")
BASE = podman.BASE.name
RUNTIMES = {"podman": "quadlet", "docker": "docker"}
# No network of its own, because a container may have no right to make one. With cgroups v1 a container sees only its
# own part.
DOCKER = '{"iptables": false, "ip6tables": false, "bridge": "none", "default-cgroupns-mode": "private"}'


class ContainerHost(Host):
    """A Debian 13 with container engines.

    Their storage is in memory, because one overlay file system cannot be on another one.
    """

    def __init__(self, engine: str, *options: str) -> None:
        for image in (IMAGE, podman.BASE):
            podman.ensure(image, CACHE / "images", dict(os.environ))
        storage = [
            word
            for name in ("containers", "docker", "containerd")
            for word in ("--mount", f"type=tmpfs,destination=/var/lib/{name}")
        ]
        super().__init__(*storage, *options, image=IMAGE)
        self.engine = engine
        settings = os.environ.get("CONTAINERS_CONF")
        if settings:
            # The engine inside meets what the engine outside met.
            self.output("cat > /etc/containers/containers.conf", pathlib.Path(settings).read_text(encoding="utf-8"))
        if engine == "docker":
            self.output("mkdir -p /etc/docker && cat > /etc/docker/daemon.json", DOCKER)
            self.output("systemctl reset-failed docker.service docker.socket; systemctl restart docker.service")

    def load(self, image: str = BASE) -> None:
        """Load an image from a file, because there is no registry here."""
        with subprocess.Popen(["podman", "save", "--quiet", image], stdout=subprocess.PIPE) as saved:
            subprocess.run(
                ["podman", "exec", "--interactive", self.name, self.engine, "load", "--quiet"],
                stdin=saved.stdout,
                check=True,
            )

    def arguments(self, **changed: typing.Any) -> Facts:
        return super().arguments(**{"runtime": RUNTIMES[self.engine], "image": BASE, **changed})

    def inspect(self, template: str) -> str:
        return self.output(f"{self.engine} container inspect --format '{template}' llama-fleet-default").strip()

    def status(self) -> dict[str, str]:
        """Return what the kernel says of the server's process."""
        lines = self.output(f"cat /proc/{self.inspect('{{.State.Pid}}')}/status").splitlines()
        return dict(line.split(":\t", 1) for line in lines if ":\t" in line)

    def command(self) -> list[str]:
        """Return the server's command line."""
        return self.output(f"tr '\\0' '\\n' < /proc/{self.inspect('{{.State.Pid}}')}/cmdline").splitlines()

    def reloads(self) -> str:
        """Return when systemd last read its units."""
        return self.output("systemctl show --property UnitsLoadFinishTimestampMonotonic")

    def leftovers(self) -> list[str]:
        """Return everything of an instance that exists anywhere."""
        places = "/etc/containers/systemd /etc/systemd/system /run/systemd/generator /run /etc/llama-fleet/instances"
        files = self.output(
            f"find {places} -maxdepth 1 \\( -name 'llama-fleet-*' -o -path '*/instances/[a-z]*' \\) 2>/dev/null || true"
        )
        return [*files.split(), *self.output(f"{self.engine} ps --all --format '{{{{.Names}}}}'").split()]

    def stop_while_busy(self) -> float:
        """Stop the instance during a request that would take very long; return the seconds that it took."""

        def ask() -> None:
            try:
                self.ask("/completion", {"prompt": "Count:", "n_predict": 1_000_000, "ignore_eos": True})
            except (OSError, ValueError):
                return

        asking = threading.Thread(target=ask)
        asking.start()
        wait_for(lambda: any(slot["is_processing"] for slot in typing.cast("list[Facts]", self.ask("/slots"))))
        began = time.monotonic()
        result = self.module(state="stopped", runtime=self.arguments()["runtime"], drain_timeout=2)
        taken = time.monotonic() - began
        asking.join()
        assert (result["changed"], result["in_flight"], result["cut"], result.get("msg")) == (True, 1, 1, None)
        return taken
