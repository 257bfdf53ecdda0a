# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The listener of a container's start: what happens, for people or for machines, and for the health check.

Failures are told by who knows what follows.
"""

import re
from collections.abc import Sequence

from llama_fleet.container import startlog
from llama_fleet.run import events
from llama_fleet.run.console import Console
from llama_fleet.settings import Stage

# What a module's progress looks like, once it knows how much there is to do.
_MEASURED = re.compile(
    r"(?P<stage>.+?): (?P<percent>[0-9]+) %(?:, (?P<amount>.+?))??(?:, (?:(?P<minutes>[0-9]+) min "
    r")?(?P<seconds>[0-9]+) s left)?"
)


class Narrator:
    def __init__(self, log: startlog.Log, stages: Sequence[Stage]) -> None:
        self._log = log
        self._stages = stages
        self._console = Console(stages)

    def __call__(self, event: events.Event) -> None:
        if isinstance(event, events.Failure):
            return
        if isinstance(event, (events.Progress, events.StageDone)):
            startlog.phase(
                startlog.PREPARING, event.text if isinstance(event, events.Progress) else f"{self._name(event)}: done"
            )
        if not self._log.as_json:
            self._console(event)
        elif isinstance(event, events.Progress):
            self._log.say("progress", event.text, **measured(event.text))
        elif isinstance(event, events.StageDone):
            self._stage(event)
        else:
            self._log.say("warning" if event.warning else "info", event.text)

    def _stage(self, event: events.StageDone) -> None:
        would_change = bool(event.result.get("would_change")) if event.plan else event.changed
        self._log.say(
            "stage",
            self._name(event),
            role=event.role,
            plan=event.plan,
            changed=would_change,
            seconds=round(event.seconds, 1),
        )

    def _name(self, event: events.StageDone) -> str:
        return next(
            (stage.name for stage in self._stages if (stage.role, stage.plan) == (event.role, event.plan)), event.task
        )


def measured(text: str) -> dict[str, object]:
    """The parts of a module's line of progress: stage, percent, what of how much, and seconds left, as far as it
    tells them.
    """
    found = _MEASURED.fullmatch(text)
    if found is None:
        return {"stage": text}
    left = {"seconds_left": int(found["minutes"] or 0) * 60 + int(found["seconds"])} if found["seconds"] else {}
    amount = {"amount": found["amount"].strip("[]")} if found["amount"] else {}
    return {"stage": found["stage"], "percent": int(found["percent"]), **amount, **left}
