# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Keep the record of a native build that is made beside a running instance: its phase, its process and its outcome."""

from __future__ import annotations

import dataclasses
import time
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.host import files, processes
from ansible_collections.llama_fleet.core.plugins.module_utils.untrusted import Number, Real, Record, Said, Word

if typing.TYPE_CHECKING:
    import pathlib

METHOD = "background"
# The phases of a build, and its outcomes: the native release serves; the other one goes on for good; it failed and is
# tried again later; the instance has changed meanwhile.
BUILDING, COMPARING, SWITCHING = "building", "comparing", "switching"
SWITCHED, KEPT, FAILED, OVERTAKEN = "switched", "kept", "failed", "overtaken"
# Seconds after which a failed build is tried again.
RETRY = 24 * 3600.0
_NAME = "background.json"
_SHAPE = Record(
    optional={
        **dict.fromkeys(("target", "build", "phase", "outcome"), Word()),
        "reason": Said(),
        **dict.fromkeys(("pid", "started"), Number()),
        "retry_after": Real(),
    }
)


@dataclasses.dataclass(frozen=True)
class Background:
    """The last build beside an instance. ``target`` identifies what is built; ``outcome`` is empty until its end."""

    target: str = ""
    build: str = ""
    phase: str = ""
    outcome: str = ""
    reason: str = ""
    pid: int = 0
    started: int = 0
    retry_after: float = 0.0

    @property
    def is_running(self) -> bool:
        """Return whether its process lives."""
        process = processes.find(self.pid) if self.pid and not self.outcome else None
        return process is not None and process.started == self.started

    def is_due(self, target: str, now: float | None = None) -> bool:
        """Return whether a build of ``target`` has to be started: it neither runs nor has been judged."""
        if target != self.target or self.outcome == OVERTAKEN:
            return True
        if self.outcome == FAILED:
            return (time.time() if now is None else now) >= self.retry_after
        return not (self.outcome or self.is_running)

    def __str__(self) -> str:
        if self.outcome or not self.target:
            return self.reason
        if not self.is_running:
            return f"the build of {self.build} native beside it was killed; the next run starts it again"
        return {
            COMPARING: f"comparing {self.build} native with it",
            SWITCHING: f"switching to {self.build} native",
        }.get(self.phase, f"building {self.build} native beside it")


def read(instance: pathlib.Path) -> Background:
    """Return the record in the folder of an instance; an empty one without it."""
    entries = files.read_json(instance / _NAME, _SHAPE) or {}
    return Background(**{name: value for name, value in entries.items() if name in _FIELDS})


def write(instance: pathlib.Path, record: Background) -> None:
    """Replace the record in the folder of an instance."""
    files.write_json(instance / _NAME, dataclasses.asdict(record))


_FIELDS = frozenset(field.name for field in dataclasses.fields(Background))
