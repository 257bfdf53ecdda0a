# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Prove that a release works on this host by decoding tokens of a tiny model."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import re
import signal
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.tiny_model import write_tiny_model
from ansible_collections.llama_fleet.core.plugins.module_utils.host.scratch import scratch
from ansible_collections.llama_fleet.core.plugins.module_utils.untrusted import (
    Many,
    Number,
    Real,
    Record,
    ShapeError,
    parse,
)

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import Result, Runner

CPU = "cpu"
_TESTS = Many(Record({"n_prompt": Number(), "avg_ts": Real()}), most=100)
TIME_LIMIT = 300  # seconds; a first CUDA run may have to compile kernels
_ILLEGAL_INSTRUCTION = (-signal.SIGILL, 128 + signal.SIGILL)
# For example ``  CUDA0: NVIDIA H200 (143771 MiB, 143000 MiB free)``.
_DEVICE = re.compile(r"^ +(CUDA\d+): .*\bMiB\b", re.MULTILINE)
_LOADED_VARIANT = re.compile(r"loaded CPU backend from (\S+/libggml-cpu-\S+\.so)$", re.MULTILINE)
_MISSING_LIBRARY = re.compile(r"(lib\S+\.so\S*): cannot open shared object file")


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The result of a smoke test.

    ``report`` is for the manifest: the speeds of ``cpu`` and of every GPU, in tokens per second. ``failure`` is empty
    on success; ``fix`` is a remedy, if one is known.
    """

    report: dict[str, typing.Any]
    failure: str = ""
    illegal_instruction: bool = False
    fix: str = ""


def smoke_test(programs: pathlib.Path, on_gpu: bool, run: Runner) -> Outcome:
    """Run ``llama-bench`` of ``programs`` on the CPU and, with ``on_gpu``, on every GPU separately.

    With ``on_gpu`` there must be at least one GPU.
    """
    report: dict[str, typing.Any] = {}
    with _readable_model() as model:
        folder = model.parent
        devices = [CPU]
        if on_gpu:
            listed = run([str(programs / "llama-bench"), "--list-devices"], cwd=str(folder), timeout=TIME_LIMIT)
            devices += parse_devices(listed.stdout)
            if len(devices) == 1:
                return _failed(report, listed, "for --list-devices, which names no GPU of this host")
        for device in devices:
            result = run(bench_command(programs, model, device, on_gpu), cwd=str(folder), timeout=TIME_LIMIT)
            speeds = parse_speeds(result.stdout) if result.ok else None
            if not speeds:
                return _failed(report, result, f"on the {'CPU' if device == CPU else f'GPU {device}'}")
            report[device] = speeds
    return Outcome(report)


def smoke_test_as_it_is(programs: pathlib.Path, on_gpu: bool, run: Runner) -> tuple[Outcome, list[str]]:
    """Test binaries that cannot be recompiled; return the outcome and the names of removed CPU variants.

    A variant for this CPU that dies by an illegal instruction is removed, so that the next best takes its place.
    """
    removed: list[str] = []
    while True:
        outcome = smoke_test(programs, on_gpu, run)
        variant = _loaded_variant(programs, run) if outcome.illegal_instruction else None
        if variant is None:
            return outcome, removed
        variant.unlink()
        removed.append(variant.name)


@contextlib.contextmanager
def _readable_model() -> typing.Iterator[pathlib.Path]:
    """Lend a tiny model that every user can read, in a folder that only this user can write."""
    with scratch() as folder:
        folder.chmod(0o711)
        model = folder / "tiny.gguf"
        write_tiny_model(model)
        yield model


def _loaded_variant(programs: pathlib.Path, run: Runner) -> pathlib.Path | None:
    """Return the library of ``programs`` that llama-bench loads for this CPU, or None if it has no variants."""
    with _readable_model() as model:
        folder = model.parent
        loaded = _LOADED_VARIANT.search(
            run([*bench_command(programs, model, CPU), "-v"], cwd=str(folder), timeout=TIME_LIMIT).stderr
        )
    variant = programs / pathlib.Path(loaded[1]).name if loaded else None
    return variant if variant is not None and variant.is_file() else None


def parse_devices(text: str) -> list[str]:
    """Return llama.cpp's names of the GPUs in the output of ``--list-devices``."""
    return _DEVICE.findall(text)


def bench_command(programs: pathlib.Path, model: pathlib.Path, device: str, beside_gpu: bool = False) -> list[str]:
    """Return the command that decodes a prompt of 32 tokens and generates 4.

    A GPU is named, because the CPU would silently replace a missing one. With ``beside_gpu``, a CPU test excludes the
    GPUs, which would take part in prompts even without layers.
    """
    where = (
        ["-ngl", "0", *(["-dev", "none"] if beside_gpu else [])] if device == CPU else ["-ngl", "99", "-dev", device]
    )
    return [str(programs / "llama-bench"), "-m", str(model), "-p", "32", "-n", "4", "-r", "1", "-o", "json", *where]


def parse_speeds(text: str) -> dict[str, float]:
    """Return the tokens per second in llama-bench's JSON: ``prompt`` and ``generation``; empty if one is missing."""
    try:
        tests = parse(text, _TESTS, "llama-bench's answer")
    except ShapeError:
        return {}
    speeds = {"prompt" if test["n_prompt"] else "generation": round(test["avg_ts"], 1) for test in tests}
    return speeds if len(speeds) == 2 and all(speed > 0 for speed in speeds.values()) else {}


def has_gpu(devices: pathlib.Path = pathlib.Path("/dev")) -> bool:
    """Return whether an NVIDIA GPU is accessible: by its device file, or that of a virtual machine on Windows."""
    return (devices / "nvidiactl").exists() or (devices / "dxg").exists()


def _failed(report: dict[str, typing.Any], result: Result, where: str) -> Outcome:
    how = f"signal {signal.Signals(-result.code).name}" if result.code < 0 else f"exit code {result.code}"
    lines = [line for line in result.stderr.splitlines() if line.strip()]
    said = f" ('{lines[-1].strip()[:200]}')" if lines else ""
    library = _MISSING_LIBRARY.search(result.stderr)
    fix = f"install the package that provides {library[1]}" if library else ""
    return Outcome(report, f"{how}{said} from llama-bench {where}", result.code in _ILLEGAL_INSTRUCTION, fix)
