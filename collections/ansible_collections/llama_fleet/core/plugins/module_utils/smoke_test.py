# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The proof of a release: it decodes tokens of a tiny model, here and now."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import signal
import tempfile
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.tiny_model import write_tiny_model

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.commands import Result, Runner

TIME_LIMIT = 300  # seconds; a first CUDA run may have to compile kernels
_ILLEGAL_INSTRUCTION = (-signal.SIGILL, 128 + signal.SIGILL)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came of a smoke test. ``report`` is for the manifest, ``failure`` is empty where all went well."""

    report: dict[str, typing.Any]
    failure: str = ""
    illegal_instruction: bool = False


def smoke_test(programs: pathlib.Path, on_gpu: bool, run: Runner) -> Outcome:
    """Decode with ``llama-bench`` of ``programs`` on the CPU, and then on the first GPU."""
    report: dict[str, typing.Any] = {}
    with tempfile.TemporaryDirectory(prefix="llama-fleet-smoke-") as folder:
        model = pathlib.Path(folder) / "tiny.gguf"
        write_tiny_model(model)
        for device in ["cpu", *(["cuda"] if on_gpu else [])]:
            result = run(bench_command(programs, model, device), cwd=folder, timeout=TIME_LIMIT)
            speeds = parse_speeds(result.stdout) if result.ok else None
            if not speeds:
                return Outcome(report, _failure(device, result), result.code in _ILLEGAL_INSTRUCTION)
            report[device] = speeds
    return Outcome(report)


def bench_command(programs: pathlib.Path, model: pathlib.Path, device: str) -> list[str]:
    """The command that decodes a prompt of 32 tokens and generates 4. A GPU is named, else the CPU would silently step in."""
    where = ["-ngl", "99", "-dev", "CUDA0"] if device == "cuda" else ["-ngl", "0"]
    return [str(programs / "llama-bench"), "-m", str(model), "-p", "32", "-n", "4", "-r", "1", "-o", "json", *where]


def parse_speeds(text: str) -> dict[str, float]:
    """Tokens a second out of llama-bench's JSON: ``prompt`` and ``generation``; empty where one of them is missing."""
    try:
        tests = json.loads(text)
        speeds = {"prompt" if test["n_prompt"] else "generation": round(float(test["avg_ts"]), 1) for test in tests}
    except (ValueError, KeyError, TypeError):
        return {}
    return speeds if len(speeds) == 2 and all(speed > 0 for speed in speeds.values()) else {}


def has_gpu(devices: pathlib.Path = pathlib.Path("/dev")) -> bool:
    """Whether an NVIDIA GPU can be reached: its device file, or that of a virtual machine on Windows."""
    return (devices / "nvidiactl").exists() or (devices / "dxg").exists()


def _failure(device: str, result: Result) -> str:
    how = f"signal {signal.Signals(-result.code).name}" if result.code < 0 else f"exit code {result.code}"
    lines = [line for line in result.stderr.splitlines() if line.strip()]
    said = f" ('{lines[-1].strip()[:200]}')" if lines else ""
    return f"{how}{said} from llama-bench on the {'GPU' if device == 'cuda' else 'CPU'}"
