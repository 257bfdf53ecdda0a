"""``python -m tests.harness.locks`` prints the age of the locks of Python packages; in CI an old lock is an error.

No vulnerability database can be queried here without a network, so locks must not get old.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import os
import re
import sys
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.tools import build_pins, hub_pins
from tests.harness.context import ROOT

if typing.TYPE_CHECKING:
    import pathlib

MOST_DAYS = 180
TOOLS = {"build_pins.py": build_pins, "hub_pins.py": hub_pins}
_LINE = re.compile(r"^# Locked on (\d{4}-\d{2}-\d{2})\.$", re.MULTILINE)


@dataclasses.dataclass(frozen=True)
class Lock:
    """A lock file and its date; None if the file has no date."""

    name: str
    day: dt.date | None

    def problem(self, today: dt.date) -> str:
        """Return why the lock must be renewed, or an empty string."""
        if self.day is None:
            return f"{self.name} does not say '# Locked on YYYY-MM-DD.'"
        days = (today - self.day).days
        return (
            f"{self.name} is {days} days old, expected at most {MOST_DAYS}. Fix: make it again, as its first lines say"
            if days > MOST_DAYS
            else ""
        )


def all_locks(root: pathlib.Path = ROOT) -> list[Lock]:
    """Return every lock of the repository, named by its path below ``root``."""
    files = [root / "requirements.txt", *sorted((root / "requirements").glob("*.txt"))]
    texts = {str(path.relative_to(root)): _LINE.search(path.read_text(encoding="utf-8")) for path in files}
    locks = [Lock(name, dt.date.fromisoformat(found[1]) if found else None) for name, found in texts.items()]
    return [*locks, *(Lock(f"tools/{name}", dt.date.fromisoformat(pins.MADE)) for name, pins in TOOLS.items())]


def main() -> int:
    """Print the age of each lock; return 1 if CI is set and a lock is too old or has no date."""
    today = dt.datetime.now(dt.UTC).date()
    problems = [lock.problem(today) for lock in all_locks()]
    print("\n".join(f"{lock.name}: {problem or lock.day}" for lock, problem in zip(all_locks(), problems, strict=True)))
    return 1 if any(problems) and os.environ.get("CI") == "true" else 0


if __name__ == "__main__":
    sys.exit(main())
