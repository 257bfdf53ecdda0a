# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Ends what an interrupted run has left on this machine: background jobs have sessions of their own, but they inherit the environment."""

import os
import pathlib
import signal
import time
from collections.abc import Iterator

# The variable that every process of a run carries.
VARIABLE = "LLAMA_FLEET_RUN"


def interrupt(marker: str, program: str) -> None:
    """Send SIGINT to those processes of a run that are ``program``."""
    for process in _processes(marker):
        if program in _read(process / "cmdline"):
            _send(process, signal.SIGINT)


def kill(marker: str, patience: float = 5.0) -> None:
    """SIGKILL to every process of a run, until there is none: one may start another meanwhile."""
    deadline = time.monotonic() + patience
    while (processes := list(_processes(marker))) and time.monotonic() < deadline:
        for process in processes:
            _send(process, signal.SIGKILL)
        time.sleep(0.05)


def _processes(marker: str) -> Iterator[pathlib.Path]:
    for process in pathlib.Path("/proc").iterdir():
        if process.name.isdigit() and int(process.name) != os.getpid() and marker in _read(process / "environ").split("\0"):
            yield process


def _read(path: pathlib.Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""  # ended meanwhile, or another user's


def _send(process: pathlib.Path, number: signal.Signals) -> None:
    try:
        os.kill(int(process.name), number)
    except (ProcessLookupError, PermissionError):
        return
