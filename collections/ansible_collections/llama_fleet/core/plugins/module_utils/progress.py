# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Report the progress of a long stage.

A module writes a snapshot to a file, its action plugin passes it on as one line of JSON, and the program that shows it
formats it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import stat
import time
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils import untrusted
from ansible_collections.llama_fleet.core.plugins.module_utils.untrusted import Said

# Environment variable of a program that reads progress itself: with the value "json", progress is displayed as lines
# of JSON instead of text.
VARIABLE = "LLAMA_FLEET_PROGRESS"
# Set by a program that shows the tables of status and doctor itself; the plays then leave theirs out.
SHOWS_TABLES = "LLAMA_FLEET_SHOWS_TABLES"
BYTES = "bytes"
STEPS = "steps"
# Name of a progress file, and that of a stage which runs beside others: it ends by itself if no run looks at it.
FILE, FILE_BESIDE = "progress.json", "beside.json"


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """Progress of one stage at one moment.

    ``done`` and ``total`` count ``unit``; ``elapsed`` is the time in seconds since ``before`` units were done; ``pid``
    is the worker's process id.
    """

    stage: str
    done: int = 0
    total: int = 0
    unit: str = STEPS
    elapsed: float = 0.0
    pid: int = 0
    before: int = 0

    @property
    def percent(self) -> int | None:
        """Percent done, rounded down; None while the total is unknown."""
        return min(100, self.done * 100 // self.total) if self.total > 0 else None

    @property
    def rate(self) -> float:
        """Units per second. Units from an earlier run do not count, so a resumed download does not look faster."""
        return (self.done - self.before) / self.elapsed if self.elapsed > 0 else 0.0

    @property
    def seconds_left(self) -> int | None:
        """Estimated seconds until the total is reached; None if unknown."""
        if self.total <= 0 or self.rate <= 0:
            return None
        return int(max(0, self.total - self.done) / self.rate)

    @property
    def amount(self) -> str:
        """Return the amount done: ``10 of 139 MB, 5.0 MB/s`` or ``5/12``; empty while the total is unknown."""
        if self.total <= 0:
            return ""
        if self.unit == BYTES:
            return f"{self.done / 1e6:.0f} of {self.total / 1e6:.0f} MB, {self.rate / 1e6:.1f} MB/s"
        return f"{self.done}/{self.total}"

    @property
    def short(self) -> str:
        """Return stage and percent, if the percent is known."""
        return self.stage if self.percent is None else f"{self.stage}: {self.percent} %"

    def text(self) -> str:
        """Format one plain line: stage, percent, amount and time left, as far as they are known."""
        if self.percent is None:
            return self.stage
        parts = [f"{self.stage}: {self.percent} %", self.amount if self.unit == BYTES else f"[{self.amount}]"]
        if self.seconds_left is not None and self.done < self.total:
            parts.append(f"{duration(self.seconds_left)} left")
        return ", ".join(parts)


def duration(seconds: int) -> str:
    """Format seconds: ``75`` -> ``1 min 15 s``."""
    minutes, rest = divmod(seconds, 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


_SHAPE = untrusted.Record(
    {"stage": Said(500)},
    {
        **dict.fromkeys(("done", "total", "before"), untrusted.Number()),
        "unit": untrusted.Text(f"{BYTES}|{STEPS}"),
        "elapsed": untrusted.Real(most=1e9),
        "pid": untrusted.Number(most=1 << 22),  # the kernel's own limit
    },
)


_LINE = untrusted.Record({"llama_fleet_progress_of": Said(500), "snapshot": _SHAPE}, {"role": Said(100)})


def parse(text: str) -> Snapshot | None:
    """Parse the text of a progress file; return None if it is empty or malformed."""
    try:
        return Snapshot(**untrusted.parse(text, _SHAPE, limit=1 << 14))
    except untrusted.ShapeError:
        return None


def to_line(host: str, snapshot: Snapshot, role: str = "") -> str:
    """Encode the snapshot of ``host`` and of the stage of ``role`` as one line of JSON."""
    return json.dumps({"llama_fleet_progress_of": host, "role": role, "snapshot": dataclasses.asdict(snapshot)})


def from_line(text: str) -> tuple[str, Snapshot, str] | None:
    """Decode host, snapshot and role from a line that ``to_line`` made; return None for any other line."""
    if not text.startswith("{"):
        return None
    try:
        line = untrusted.parse(text, _LINE, limit=1 << 14)
    except untrusted.ShapeError:
        return None
    return line["llama_fleet_progress_of"], Snapshot(**line["snapshot"]), line.get("role", "")


class Progress:
    """A reporter that writes a stage's progress to ``path`` (nowhere if empty), at most ten times per second.

    The folder of ``path`` must belong to this user, and is made if missing. Write errors are ignored, because progress
    is not worth a failure.
    """

    def __init__(self, path: str = "", clock: typing.Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._written = float("-inf")
        self._stage = ""
        # Time and amount of the stage's first update, from which its rate is measured.
        self._began = 0.0
        self._before: int | None = None

    def stage(self, stage: str) -> None:
        """Start a new stage of yet unknown size."""
        self._stage = stage
        self._before = None
        self._write(Snapshot(stage, pid=os.getpid()), force=True)

    def update(self, done: int, total: int, unit: str = STEPS) -> None:
        """Report that the current stage is at ``done`` of ``total``."""
        if self._before is None or done < self._before:  # fewer than before: the work has started over
            self._began, self._before = self._clock(), done
        snapshot = Snapshot(self._stage, done, total, unit, self._clock() - self._began, os.getpid(), self._before)
        self._write(snapshot, force=done >= total)

    def _write(self, snapshot: Snapshot, force: bool) -> None:
        now = self._clock()
        if not self._path or (not force and now - self._written < 0.1):
            return
        self._written = now
        # Without it the display lacks an update, but the stage continues.
        with contextlib.suppress(OSError):
            _replace(self._path, json.dumps(dataclasses.asdict(snapshot)))


def _replace(path: str, text: str) -> None:
    """Replace the content of ``path`` in one step, inside a folder that only this user can write. Raises OSError."""
    parent, name = os.path.split(path)
    folder = _private_folder(parent)
    try:
        with contextlib.suppress(FileNotFoundError):  # left by a killed run
            os.unlink(f"{name}.new", dir_fd=folder)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        with open(os.open(f"{name}.new", flags, 0o600, dir_fd=folder), "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(f"{name}.new", name, src_dir_fd=folder, dst_dir_fd=folder)
    finally:
        os.close(folder)


def _private_folder(path: str) -> int:
    """Open the folder ``path``, and make it if missing.

    Raises OSError if it is a link, or if others can write to it.
    """
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, 0o700)
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    status = os.fstat(descriptor)
    if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o022:
        os.close(descriptor)
        raise PermissionError(path)
    return descriptor
