# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Keep ``results.jsonl``: one line of JSON for each result, on disk before the next one is measured.

``{"run": {...}}`` begins each call: mode (``gpu``, ``cpu`` or ``recorded``), GPUs, cores, date, parcel. ``{"phase":
NAME, "values": {...}}`` is one result of a phase, and ``{"phase": NAME, "outcome": ..., "reason": ..., "seconds":
...}`` says how it ended.
"""

from __future__ import annotations

import json
import os
import typing

if typing.TYPE_CHECKING:
    import pathlib

NAME = "results.jsonl"
DONE, NOT_HERE = "done", "not here"  # final
FAILED, ENDED, SKIPPED = "failed", "ended", "skipped"  # tried again
Values = typing.Mapping[str, typing.Any]


class Journal:
    """The file below ``work``; any process of a run may write to it."""

    def __init__(self, work: pathlib.Path) -> None:
        self.path = work / NAME

    def write(self, record: Values) -> None:
        """Append a line and flush it to the disk."""
        line = json.dumps(record).encode() + b"\n"
        with self.path.open("ab+") as file:
            # A killed run may have left half a line.
            if file.tell() and os.pread(file.fileno(), 1, file.tell() - 1) != b"\n":
                line = b"\n" + line
            file.write(line)
            file.flush()
            os.fsync(file.fileno())

    def add(self, phase: str, values: Values) -> None:
        """Write one result of a phase."""
        self.write({"phase": phase, "values": values})

    def conclude(self, phase: str, outcome: str, seconds: float, reason: str = "") -> None:
        """Write how a phase ended."""
        self.write({"phase": phase, "outcome": outcome, "reason": reason, "seconds": round(seconds, 1)})

    def records(self) -> list[dict[str, typing.Any]]:
        """Return all whole lines, without what a kill cut off."""
        try:
            lines = self.path.read_text(encoding="utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            return []
        return [record for line in lines if isinstance(record := _parsed(line), dict)]

    def values(self, phase: str) -> list[dict[str, typing.Any]]:
        """Return the results of a phase so far, those of earlier calls first."""
        return [record["values"] for record in self.records() if record.get("phase") == phase and "values" in record]

    def outcomes(self) -> dict[str, dict[str, typing.Any]]:
        """Return how each phase ended last, by its name."""
        return {record["phase"]: record for record in self.records() if "outcome" in record}


def _parsed(line: str) -> typing.Any:
    try:
        return json.loads(line)
    except ValueError:
        return None
