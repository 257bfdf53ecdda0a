# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""``tests/gpu/driver``: what nvidia_driver_info says of this host's GPUs, against what nvidia-smi says when it is
asked otherwise.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import time
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.host import commands
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia import capability as nvidia_capability
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia import examine as nvidia_host
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia import findings as nvidia_findings
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia.host import MORE_FOLDERS, GpuHost, find_smi
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia.requirements import Requirements
from tests.gpu import gpus

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia.smi import Gpu

FAILED, NO_GPU = 1, 3
# Each with where our result has it; what a GPU does not have is empty in both.
_SAME = {
    "uuid": "uuid",
    "name": "name",
    "pci.bus_id": "pci_address",
    "compute_cap": "compute_capability",
    "memory.total": "memory_total_mib",
    "mig.mode.current": "mig_mode",
    "compute_mode": "compute_mode",
    "ecc.mode.current": "ecc.mode",
    "persistence_mode": "persistence",
}
# Nobody has so many, so much or so new a GPU; each has to be told.
TOO_MUCH = Requirements("9999", "13.0", 10**9, (), 99, "99.0")
UNMET = {"driver_below_minimum", "gpus_missing", "capability_too_low", "memory_too_little"}


@dataclasses.dataclass
class Counting:
    """Runs commands and keeps them."""

    kept: list[list[str]] = dataclasses.field(default_factory=list)

    def __call__(
        self,
        command: typing.Sequence[str],
        env: typing.Mapping[str, str] | None = None,
        cwd: str | None = None,
        timeout: float | None = None,
        on_line: typing.Callable[[str], None] | None = None,
    ) -> commands.Result:
        assert timeout, f"{command[0]} without a time limit"
        self.kept.append(list(command))
        return commands.run(command, env, cwd, timeout, on_line)

    @property
    def calls(self) -> list[list[str]]:
        """Return the calls of nvidia-smi."""
        return [command for command in self.kept if pathlib.Path(command[0]).name == "nvidia-smi"]


def main() -> int:
    try:
        report = examine()
    except gpus.NoGpuError as reason:
        sys.stderr.write(f"tests/gpu/driver: no NVIDIA GPU can be used here: {reason}\n")
        return NO_GPU
    sys.stdout.write(json.dumps(report, indent=2) + "\n")
    for sentence in report["wrong"]:
        sys.stderr.write(f"tests/gpu/driver: {sentence}\n")
    return FAILED if report["wrong"] else 0


def examine(root: pathlib.Path | None = None) -> dict[str, typing.Any]:
    """Return the findings of nvidia_driver_info and its duration in seconds.

    ``wrong`` has a sentence for each deviation. ``root`` is that of a recorded host.
    """
    told = query()
    counting = Counting()
    everywhere = tuple(os.environ.get("PATH", "").split(os.pathsep)) + MORE_FOLDERS
    host = GpuHost(counting, root) if root else GpuHost(counting, folders=everywhere)
    began = time.monotonic()
    examined = nvidia_host.examine(host, Requirements())
    took = time.monotonic() - began
    seen = examined.seen
    calls = list(counting.calls)
    result = {
        "driver": dataclasses.asdict(seen.driver) if seen.driver else {},
        "gpus": [dataclasses.asdict(gpu) for gpu in seen.gpus],
        "problems": [dataclasses.asdict(finding) for finding in seen.findings],
    }
    wrong = differences(result, told)
    if len(calls) != 1:
        wrong.append(f"nvidia-smi was called {len(calls)} times: {calls}")
    wrong += _capability_faults(host, counting, seen.gpus) + _requirement_faults(host)
    return {
        **result,
        "container": dataclasses.asdict(examined.support),
        "commands": calls,
        "seconds": round(took, 3),
        "wrong": wrong,
    }


def _capability_faults(host: GpuHost, counting: Counting, seen: typing.Sequence[Gpu]) -> list[str]:
    """Return a sentence for each way in which the driver's library fails to tell the capabilities by itself."""
    calls = len(counting.calls)
    by_library = nvidia_capability.known(
        host, find_smi(host), [dataclasses.replace(gpu, architecture="") for gpu in seen]
    )
    wrong = []
    if [gpu.compute_capability for gpu in by_library] != [gpu.compute_capability for gpu in seen]:
        wrong.append(f"the driver's library tells other capabilities: {by_library}")
    if len(counting.calls) != calls:
        wrong.append("the driver's library did not tell every capability")
    return wrong


def _requirement_faults(host: GpuHost) -> list[str]:
    """Return a sentence if a requirement that no GPU meets is not reported."""
    unmet = {
        finding.code
        for finding in nvidia_host.examine(host, TOO_MUCH).seen.findings
        if finding.severity == nvidia_findings.ERROR
    }
    return [] if unmet >= UNMET else [f"requirements that nobody meets were not told: {sorted(UNMET - unmet)}"]


def query() -> list[dict[str, str]]:
    """Query nvidia-smi in its other format, CSV."""
    gpus.look()  # raises where there is none
    names = ["driver_version", *_SAME]
    command = ["nvidia-smi", f"--query-gpu={','.join(names)}", "--format=csv,noheader,nounits"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return [
        dict(zip(names, (_plain(value) for value in line.split(",")), strict=True))
        for line in done.stdout.splitlines()
        if line.strip()
    ]


def differences(result: dict[str, typing.Any], told: list[dict[str, str]]) -> list[str]:
    """Return a sentence for each value of nvidia_driver_info's result that differs from ``told``, and for each of its
    errors.
    """
    wrong = [
        f"an error: {problem['found']}"
        for problem in result["problems"]
        if problem["severity"] == nvidia_findings.ERROR
    ]
    if len(result["gpus"]) != len(told):
        return [*wrong, f"{len(result['gpus'])} GPUs, and nvidia-smi tells of {len(told)}"]
    for gpu, row in zip(result["gpus"], told, strict=True):
        if result["driver"]["version"] != row["driver_version"]:
            wrong.append(f"driver {result['driver']['version']}, and nvidia-smi says {row['driver_version']}")
        wrong += [
            f"GPU {gpu['index']}: {ours} {value!r}, and nvidia-smi says {row[name]!r}"
            for name, ours in _SAME.items()
            if (value := _ours(gpu, ours)) != row[name]
        ]
        if not 0 <= gpu["memory_free_mib"] <= gpu["memory_total_mib"]:
            wrong.append(f"GPU {gpu['index']}: {gpu['memory_free_mib']} of {gpu['memory_total_mib']} MiB free")
    return wrong


def _ours(gpu: dict[str, typing.Any], path: str) -> str:
    value: typing.Any = gpu
    for name in path.split("."):
        value = value[name]
    if isinstance(value, bool):
        return "enabled" if value else "disabled"
    return _plain(str(value)) if value else ""


def _plain(value: str) -> str:
    """``[N/A]`` is nothing, and both ways of asking differ in their letters."""
    value = value.strip().lower().replace(" ", "_")
    return "" if value in ("[n/a]", "n/a", "[not_supported]") else value


if __name__ == "__main__":
    raise SystemExit(main())
