# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""List this host's GPUs with nvidia-smi."""

from __future__ import annotations

import subprocess
import threading
import typing

QUERY = ("index", "name", "driver_version", "memory.total", "memory.used", "utilization.gpu")
PERIOD = 0.5  # seconds between two samples


class NoGpuError(Exception):
    """No GPU can be used; the message is the reason, as a clause."""


def look() -> list[dict[str, str]]:
    """Return what nvidia-smi reports of each GPU; raise NoGpuError if it reports none."""
    command = ["nvidia-smi", f"--query-gpu={','.join(QUERY)}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    except FileNotFoundError:
        raise NoGpuError("nvidia-smi is not installed") from None
    except subprocess.TimeoutExpired:
        raise NoGpuError("nvidia-smi does not answer") from None
    lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    if done.returncode != 0 or not lines:
        raise NoGpuError(f"nvidia-smi ends with {done.returncode}{f' ({lines[0]})' if lines else ''}")
    return [dict(zip(QUERY, (value.strip() for value in line.split(",")), strict=True)) for line in lines]


class Watch:
    """A watch that samples the GPUs while it is open; ``busiest`` has the peak values of each."""

    def __init__(self, wanted: bool) -> None:
        self.busiest: list[dict[str, int]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True) if wanted else None

    def __enter__(self) -> typing.Self:
        if self._thread:
            self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop.set()
        if self._thread:
            self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(PERIOD):
            try:
                seen = look()
            except NoGpuError:
                continue
            now = [
                {
                    "index": number(gpu["index"]),
                    "memory_used_mib": number(gpu["memory.used"]),
                    "utilization": number(gpu["utilization.gpu"]),
                }
                for gpu in seen
            ]
            before = self.busiest or now
            self.busiest = [
                {name: max(one[name], other[name]) for name in one} for one, other in zip(now, before, strict=False)
            ]


def number(text: str) -> int:
    """Return a value of nvidia-smi as a number; 0 if this GPU does not report it."""
    return int(float(text)) if text.replace(".", "", 1).isdigit() else 0
