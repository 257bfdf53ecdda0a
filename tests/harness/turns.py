"""Whose turn it is: the steps of a run, handed out to those that run them."""

from __future__ import annotations

import threading
import typing

if typing.TYPE_CHECKING:
    from tests.harness.steps import Step


class Turns:
    """The steps of a run in their order, each handed out once, when those of this run that it ``needs`` or comes
    ``after`` have ended.
    """

    def __init__(self, steps: typing.Iterable[Step]) -> None:
        self._left = list(steps)
        self._waited_for = {step.name for step in self._left}
        self._changed = threading.Condition()
        self.outcomes: dict[str, str] = {}

    def take(self) -> Step | None:
        """The next step, waiting until there is one; None where none is left."""
        with self._changed:
            while self._left:
                for step in self._left:
                    if self._waited_for.isdisjoint((*step.needs, *step.after)):
                        self._left.remove(step)
                        return step
                self._changed.wait()
        return None

    def ended(self, step: Step, outcome: str) -> None:
        """A step that was taken has passed, failed or was skipped."""
        with self._changed:
            self._waited_for.discard(step.name)
            self.outcomes[step.name] = outcome
            self._changed.notify_all()

    def not_passed(self, step: Step) -> list[str]:
        """The steps of this run that ``step`` needs and that did not pass."""
        return [name for name in step.needs if self.outcomes.get(name, "passed") != "passed"]

    def stop(self) -> None:
        """Hand out no more."""
        with self._changed:
            self._left.clear()
            self._changed.notify_all()
