"""Hand out the steps of a run to its workers."""

from __future__ import annotations

import threading
import typing

if typing.TYPE_CHECKING:
    from tests.harness.steps import Step


class Turns:
    """The steps of a run in order, each handed out once those that it ``needs`` or comes ``after`` have ended."""

    def __init__(self, steps: typing.Iterable[Step]) -> None:
        self._left = list(steps)
        self._waited_for = {step.name for step in self._left}
        self._changed = threading.Condition()
        self.outcomes: dict[str, str] = {}

    def take(self) -> Step | None:
        """Wait for the next step and return it; return None if none is left."""
        with self._changed:
            while self._left:
                for step in self._left:
                    if self._waited_for.isdisjoint((*step.needs, *step.after)):
                        self._left.remove(step)
                        return step
                self._changed.wait()
        return None

    def ended(self, step: Step, outcome: str) -> None:
        """Record that a step has passed, failed or was skipped."""
        with self._changed:
            self._waited_for.discard(step.name)
            self.outcomes[step.name] = outcome
            self._changed.notify_all()

    def not_passed(self, step: Step) -> list[str]:
        """Return the steps of this run that ``step`` needs and that did not pass."""
        return [name for name in step.needs if self.outcomes.get(name, "passed") != "passed"]

    def stop(self) -> None:
        """Hand out no more steps."""
        with self._changed:
            self._left.clear()
            self._changed.notify_all()
