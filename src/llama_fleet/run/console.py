# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Format what a run shows, and print it: progress in place on a terminal, as plain lines elsewhere."""

import os
import shutil
import sys
import time
import typing
from collections.abc import Callable, Sequence

from llama_fleet.run import events, example_request
from llama_fleet.settings import Stage

# Seconds between two progress lines of a stage without a terminal.
PLAIN_INTERVAL = 10.0
CLEAR_LINE = "\r\x1b[2K"


class Console:
    """A listener that prints the events of a run."""

    def __init__(
        self,
        stages: Sequence[Stage],
        stream: typing.TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.stages = stages
        self._stream = stream or sys.stderr
        self._in_place = self._stream.isatty() and os.environ.get("TERM") != "dumb"
        self._clock = clock
        # By host and role: stages may run side by side.
        self._last: dict[tuple[str, str], tuple[str, float]] = {}
        self._running: dict[str, dict[str, events.Progress]] = {}

    def __call__(self, event: events.Event) -> None:
        if isinstance(event, events.Progress):
            self._progress(event)
        elif isinstance(event, events.StageDone):
            stages = [stage for stage in self.stages if (stage.role, stage.plan) == (event.role, event.plan)]
            stage = stages[0] if stages else Stage(event.role, event.task, event.plan)
            self._running.get(event.host, {}).pop(event.role, None)
            self._line(f"{event.host}: {stage.name}: {_state(event, stage)}")
        elif isinstance(event, events.Failure):
            self._line(f"Error: {failure_text(event)}")
        else:
            self._line(remark(event))

    def begin(self, text: str) -> None:
        """Show what happens until the first event, because Ansible takes seconds to start."""
        if self._in_place:
            self._in_one_place(text)
        else:
            self._line(text)

    def _in_one_place(self, text: str) -> None:
        width = shutil.get_terminal_size().columns - 1
        self._stream.write(CLEAR_LINE + text[:width])
        self._stream.flush()

    def _progress(self, event: events.Progress) -> None:
        if self._in_place:
            running = self._running.setdefault(event.host, {})
            running[event.role] = event
            text = event.text if len(running) == 1 else " | ".join(each.short for each in running.values())
            self._in_one_place(f"{event.host}: {text}")
            return
        stage, now, key = event.snapshot.stage, self._clock(), (event.host, event.role)
        last_stage, last_time = self._last.get(key, ("", 0.0))
        if stage != last_stage or now - last_time >= PLAIN_INTERVAL:
            self._last[key] = stage, now
            self._line(f"{event.host}: {event.text}")

    def clear(self) -> None:
        """Erase the progress line, so that another program part can print."""
        if self._in_place:
            self._stream.write(CLEAR_LINE)
            self._stream.flush()

    def _line(self, text: str) -> None:
        self._stream.write(f"{CLEAR_LINE if self._in_place else ''}{text}\n")
        self._stream.flush()


def _state(event: events.StageDone, stage: Stage) -> str:
    if stage.plan and event.result.get("ready"):
        return "nothing to do, it passes its gate"
    if stage.plan:
        return "there is work to do" if event.result.get("would_change") else "nothing to do"
    return f"changed, {duration(event.seconds)}" if event.changed else "ok"


def failure_text(failure: events.Failure) -> str:
    """Format a failure as a sentence that names the host, unless that is this machine."""
    text = failure.text
    if failure.unreachable:
        text = f"cannot be reached: {' '.join(text.split())}"
    elif failure.host == events.LOCALHOST:
        return text
    return f"{failure.host}: {text}" if failure.host else text


def duration(seconds: float) -> str:
    """Format seconds: ``75.2`` -> ``1 min 15 s``, ``7.23`` -> ``7.2 s``."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"


def remark(event: events.Event) -> str:
    """Format a remark; empty for any other event."""
    if not isinstance(event, events.Remark):
        return ""
    return f"Warning: {event.text}" if event.warning else event.text


def ending(outcome: events.Outcome, *, check: bool = False) -> str:
    """Format the end of a run: counts, hosts left out, and unless it failed or was a check, endpoints and answers."""
    parts = [summary(outcome)]
    if outcome.untouched:
        parts.append(f"Not touched, because a batch before them failed: {', '.join(outcome.untouched)}")
    if not outcome.exit_code and not check:
        parts.append(answers(outcome))
    return "\n".join(filter(None, parts))


def changes(outcome: events.Outcome, *, check: bool = False) -> str:
    """List, for each host or instance that changed or in a check would, the roles or modules that change it."""
    verb = "would change" if check else "changed"
    changed = {
        host: [role for role, result in results.items() if result.get("changed")]
        for host, results in sorted(outcome.results.items())
    }
    return "\n".join(f"{host}: {verb} {', '.join(roles)}" for host, roles in changed.items() if roles)


def summary(outcome: events.Outcome) -> str:
    """Format the counts and the duration of a run."""
    return f"changed={outcome.changed} in {duration(outcome.seconds)}, {outcome.calls} module calls"


def answers(outcome: events.Outcome) -> str:
    """Format the answer and endpoint of each host or instance, and the shell lines that ask the first one again."""
    # An instance that was stopped or removed has no endpoint.
    results = [(host, result) for host, result in sorted(outcome.of_role("llama_server").items()) if result["endpoint"]]
    parts = []
    for host, result in results:
        name = "" if host == events.LOCALHOST else f"{host}: "
        if result.get("answer"):
            parts.append(f"\n{name}{result['answer'].strip()}\n")
        parts.append(f"{name}{result['endpoint']}")
    return "\n".join(
        [
            *parts,
            *(line for host, result in results[:1] for line in example_request.lines(result, _address(outcome, host))),
        ]
    )


def _address(outcome: events.Outcome, host: str) -> str:
    """Return the address by which ssh reaches a host; empty for this machine."""
    name = host.partition("/")[0]
    return "" if name == events.LOCALHOST else outcome.addresses.get(name, name)
