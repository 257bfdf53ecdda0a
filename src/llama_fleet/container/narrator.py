# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Report the events of a container's start to the log and the health check.

Failures are left to the caller, which knows whether an older generation starts instead.
"""

from collections.abc import Sequence

from ansible_collections.llama_fleet.core.plugins.module_utils.progress import Snapshot
from llama_fleet.container import startlog
from llama_fleet.run import events
from llama_fleet.run.console import Console
from llama_fleet.settings import Stage


class Narrator:
    """A listener that writes events as lines for people or as JSON for programs."""

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
            role = {"role": event.role} if event.role else {}
            self._log.say("progress", event.text, **role, **measured(event.snapshot))
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


def measured(snapshot: Snapshot) -> dict[str, object]:
    """Return stage, percent, amount and seconds left of a snapshot, as far as they are known."""
    known: dict[str, object] = {"stage": snapshot.stage}
    if snapshot.percent is not None:
        known |= {"percent": snapshot.percent, "amount": snapshot.amount}
    if snapshot.seconds_left is not None and snapshot.done < snapshot.total:
        known["seconds_left"] = snapshot.seconds_left
    return known
