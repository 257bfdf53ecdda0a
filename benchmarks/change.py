# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Measure what a change costs the clients of a server.

``PYTHONPATH=.:collections python benchmarks/change.py --release DIR --model FILE``. Clients constantly ask a real
llama-server on loopback, a process of the module llama_server, each with its next question as soon as it has an answer.
Meanwhile the server is changed: an option, back again, a restart, a new release, down. It counts requests that were
sent and never answered (cut), and the seconds from the last answer of /health before to the first one after. ``--drain
0 --stop 15`` is what a change did before it drained.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime as dt
import http.client
import itertools
import json
import os
import pathlib
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import typing

from ansible_collections.llama_fleet.core.tests.unit.module_runs import free_port

MODULE = "ansible_collections.llama_fleet.core.plugins.modules.llama_server"
LONGEST = 600
LOOK = 0.02


@dataclasses.dataclass
class Load:
    """Clients that constantly ask a server, with ``pause`` seconds between questions, and a frequent check of its
    health.
    """

    port: int
    clients: int
    pause: float
    tokens: int
    answered: int = 0
    cut: int = 0
    healthy: list[float] = dataclasses.field(default_factory=list)
    over: threading.Event = dataclasses.field(default_factory=threading.Event)
    lock: threading.Lock = dataclasses.field(default_factory=threading.Lock)

    def __enter__(self) -> typing.Self:
        self._threads = [threading.Thread(target=self._ask) for _number in range(self.clients)]
        self._threads.append(threading.Thread(target=self._look))
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_raised: object) -> None:
        self.over.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        body = json.dumps(
            {"prompt": "Once upon a time", "n_predict": self.tokens, "ignore_eos": True, "cache_prompt": False}
        )
        while not self.over.is_set():
            client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=LONGEST)
            try:
                client.connect()
            except OSError:  # nothing was sent, so nothing is lost: the request is repeated
                time.sleep(0.1)
                continue
            try:
                client.request("POST", "/completion", body)
                good = len(client.getresponse().read()) > 0
            except (OSError, http.client.HTTPException):
                good = False
            finally:
                client.close()
            with self.lock:
                self.answered += good
                self.cut += not good and not self.over.is_set()
            self.over.wait(self.pause)

    def _look(self) -> None:
        while not self.over.wait(LOOK):
            client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=1)
            try:
                client.request("GET", "/health")
                if client.getresponse().status == http.client.OK:
                    self.healthy.append(time.monotonic())
            except (OSError, http.client.HTTPException):
                continue
            finally:
                client.close()

    def gap(self, until: float) -> float:
        """Return the longest time in seconds without an answer of /health, at most up to ``until``."""
        times = [*self.healthy, *([until] if until - self.healthy[-1] > 1 else [])]
        return max(after - before for before, after in itertools.pairwise(times))


class Bench:
    """One instance below a folder of its own."""

    def __init__(self, given: argparse.Namespace, folder: pathlib.Path) -> None:
        self.folder = folder
        self.releases = [self._copy(given.release, number) for number in range(2)]
        self.port = free_port()
        self.wanted: dict[str, typing.Any] = {
            "root": str(folder / "etc"),
            "runtime_root": str(folder / "run"),
            "runtime": "process",
            "release": self.releases[0],
            "model": str(given.model.resolve()),
            "port": self.port,
            "parallel": 4,
            "ctx_size": 512,
            "threads": given.threads,
            "cache_ram": 0,
            "extra_options": {"warmup": False},
            "allow_unauthenticated": True,
        }

    def _copy(self, release: pathlib.Path, number: int) -> str:
        """Make a release of the same files under another name."""
        target = self.folder / f"release-{number}"
        shutil.copytree(release, target, copy_function=os.link)
        manifest = target / "manifest.json"
        copied = json.loads(manifest.read_text(encoding="utf-8"))
        manifest.unlink()
        copied["fingerprint"] = f"{number}{copied['fingerprint'][1:]}"
        manifest.write_text(json.dumps(copied), encoding="utf-8")
        return str(target)

    def run(self, **more: typing.Any) -> dict[str, typing.Any]:
        arguments = json.dumps({"ANSIBLE_MODULE_ARGS": {**self.wanted, **more, "_ansible_remote_tmp": "/tmp"}})
        done = subprocess.run(
            [sys.executable, "-m", MODULE],
            input=arguments,
            capture_output=True,
            text=True,
            check=False,
            timeout=LONGEST,
        )
        result = json.loads(done.stdout[done.stdout.index("{") :])
        if result.get("failed"):
            sys.exit(str(result["msg"]))
        return typing.cast("dict[str, typing.Any]", result)

    def forget(self) -> None:
        """Make the next run start it anew, by removing what identifies its process."""
        (self.folder / "run" / "default.json").unlink()


def measure(
    bench: Bench, given: argparse.Namespace, name: str, change: dict[str, typing.Any], how: dict[str, int]
) -> str:
    """Return a row of the table: seconds without service, requests cut, requests in flight, seconds of the run."""
    with Load(bench.port, given.clients, given.pause, given.tokens) as load:
        time.sleep(given.before)
        if name == "restart":
            bench.forget()
        began = time.monotonic()
        result = bench.run(**change, **how)
        ended = time.monotonic()
        # The connections of a killed server end a moment after it.
        time.sleep(1)
        gap, cut = load.gap(ended), load.cut
    return f"| {name} | {gap:.1f} | {cut} | {result['in_flight']} | {result['cut']} | {ended - began:.1f} |"


def changes(bench: Bench) -> list[tuple[str, dict[str, typing.Any], dict[str, typing.Any]]]:
    """Return each change with what is done before it, without a load."""
    other = {"release": bench.releases[1]}
    return [
        ("option change", {}, {"ctx_size": 640}),
        ("rollback", {"ctx_size": 640}, {"state": "rolled_back"}),
        ("restart", {}, {}),
        ("new release", {}, other),
        ("down", {}, {"state": "stopped"}),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--release", type=pathlib.Path, required=True, help="folder of a release, with bin/llama-server"
    )
    parser.add_argument("--model", type=pathlib.Path, required=True, help="a GGUF file")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument(
        "--pause", type=float, default=0.0, help="seconds between a client's answer and its next question"
    )
    parser.add_argument("--tokens", type=int, default=16, help="tokens of each answer")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--before", type=float, default=5.0, help="seconds under load before each change")
    parser.add_argument("--drain", type=int, default=30, help="llama_server_drain_timeout; 0 is no drain")
    parser.add_argument("--stop", type=int, default=1, help="llama_server_stop_timeout; before it was 15")
    given = parser.parse_args()
    how = {"drain_timeout": given.drain, "stop_timeout": given.stop}
    print(
        f"{dt.datetime.now(dt.UTC):%Y-%m-%d}, {platform.machine()}, {os.cpu_count()} processors; {given.clients} "
        f"clients on 4 slots, {how}\n"
    )
    print(
        "| change | s without service | cut | in flight, as told | cut, as told | s of the run "
        "|\n|---|---|---|---|---|---|"
    )
    with tempfile.TemporaryDirectory(dir=given.release.resolve().parent.parent, prefix="change-") as folder:
        bench = Bench(given, pathlib.Path(folder))
        try:
            for name, before, change in changes(bench):
                bench.run(**{"stop_timeout": given.stop, "drain_timeout": 0, **before})
                print(measure(bench, given, name, change, how), flush=True)
        finally:
            bench.run(state="absent", drain_timeout=0, stop_timeout=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
