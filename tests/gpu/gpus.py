# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The GPUs of this host, by nvidia-smi."""

from __future__ import annotations

import subprocess
import threading
import typing

QUERY = ("index", "name", "driver_version", "memory.total", "memory.used", "utilization.gpu")
PERIOD = 0.5  # seconds between two looks


class NoGpuError(Exception):
    """Why no GPU can be used, as a clause."""


def look() -> list[dict[str, str]]:
    """What nvidia-smi says of each GPU; raises NoGpuError where it says nothing of any."""
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
    """Looks at the GPUs while it is open; ``busiest`` is what each was seen to reach."""

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
    """A value of nvidia-smi; 0 for one that this GPU does not tell."""
    return int(float(text)) if text.replace(".", "", 1).isdigit() else 0
