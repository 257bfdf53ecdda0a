# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Measure the cost of a number of threads in a container that may use fewer CPUs than the machine has.

``python benchmarks/threads.py RELEASE MODEL IMAGE`` runs llama-server in a container with ``--cpus``, alternating
between the threads that llama_server chooses there and the server's own default. It needs podman, an image with Python
3, and a machine with more cores than ``--cpus``.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import pathlib
import socket
import statistics
import subprocess
import time
import typing
import urllib.error
import urllib.request
import uuid

ROOT = pathlib.Path(__file__).resolve().parents[1]
CHOSEN = """
from ansible_collections.llama_fleet.core.plugins.module_utils.host.cpus import observe
print(observe().threads)
"""
PROMPT = "Once upon a time there was"


class Container:
    """Containers of one image with the machine's release and model, limited to ``cpus`` CPUs."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.given = given
        mounts = {given.release: "/release", given.model.parent: "/models", ROOT / "collections": "/collections"}
        volumes = [
            word for source, target in mounts.items() for word in ("--volume", f"{source.resolve()}:{target}:ro")
        ]
        self.words = ["podman", "run", "--rm", "--network", "host", "--cpus", str(given.cpus), *volumes]

    def threads(self) -> int:
        """Return the number of threads that llama_server would choose there."""
        words = [
            *self.words,
            "--env",
            "PYTHONPATH=/collections",
            "--env",
            "PYTHONDONTWRITEBYTECODE=1",
            self.given.image,
            "python3",
            "-c",
            CHOSEN,
        ]
        return int(subprocess.run(words, capture_output=True, text=True, check=True).stdout)

    @contextlib.contextmanager
    def serving(self, *options: str) -> typing.Iterator[str]:
        """Start a server with these options and yield its address."""
        name = f"llama-fleet-threads-{uuid.uuid4().hex[:8]}"
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        common = [
            "--model",
            f"/models/{self.given.model.name}",
            "--port",
            str(port),
            "--ctx-size",
            "1024",
            "--parallel",
            "1",
            "--device",
            "none",
        ]
        command = ["/release/bin/llama-server", *common, *options]
        with subprocess.Popen(
            [*self.words, "--name", name, self.given.image, *command],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            try:
                wait(f"http://127.0.0.1:{port}/health", process)
                yield f"http://127.0.0.1:{port}"
            finally:
                subprocess.run(["podman", "kill", "--signal", "KILL", name], capture_output=True, check=False)

    def speed(self, *options: str) -> float:
        """Return the tokens per second that a server with these options generates."""
        with self.serving(*options) as url:
            body = {
                "prompt": PROMPT,
                "n_predict": self.given.tokens,
                "ignore_eos": True,
                "temperature": 0,
                "cache_prompt": False,
            }
            for _warm_up_then_measured in range(2):
                request = urllib.request.Request(
                    f"{url}/completion", json.dumps(body).encode(), {"Content-Type": "application/json"}
                )
                with urllib.request.urlopen(request, timeout=600) as answer:
                    speed = float(json.load(answer)["timings"]["predicted_per_second"])
            return speed


def wait(url: str, process: subprocess.Popen[bytes]) -> None:
    """Wait until the server is healthy; raise SystemExit if it ends or takes minutes."""
    end = time.monotonic() + 300
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(OSError, urllib.error.HTTPError), urllib.request.urlopen(url, timeout=5):
            return
        time.sleep(0.1)
    raise SystemExit(f"llama-server did not become healthy (exit status {process.poll()})")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("release", type=pathlib.Path, help="folder of a release, with bin/llama-server in it")
    parser.add_argument("model", type=pathlib.Path, help="a GGUF file, the first one of a split model")
    parser.add_argument("image", help="an image of podman's")
    parser.add_argument("--cpus", type=float, default=1.0, help="CPUs that the container may use")
    parser.add_argument("--tokens", type=int, default=96, help="generated in each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


def main() -> None:
    given = parse()
    container = Container(given)
    threads = container.threads()
    speeds: dict[str, list[float]] = {
        f"llama_server: {threads} thread{'s' if threads > 1 else ''}": [],
        "the server's own default": [],
    }
    for _round in range(given.rounds):
        for name, options in zip(speeds, (("--threads", str(threads)), ()), strict=True):
            speeds[name].append(container.speed(*options))
    print(f"| with {given.cpus:g} CPUs | tokens/s, least | median | most |\n|---|---|---|---|")
    for name, measured in speeds.items():
        print(f"| {name} | {min(measured):.1f} | {statistics.median(measured):.1f} | {max(measured):.1f} |")
    ours, default = (statistics.median(measured) for measured in speeds.values())
    print(f"\nOurs: {ours / default:.2f}x the speed of the default")


if __name__ == "__main__":
    main()
