# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Compare the speed of a new generation with that of a good one, and fail it only beyond the noise of the host."""

from __future__ import annotations

import dataclasses
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.server import beside, gating
from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate import gate as server_gate
from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate import speed as server_speed
from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate import turns

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.host import processes
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.instance import Instance
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.state.generations import Generation


@dataclasses.dataclass
class Contest:
    """A comparison with the ``rival``, the generation that a new one must not be slower than ``ratio`` times.

    ``speeds`` are the rival's, in tokens per second, taken just before it was stopped.
    """

    instance: Instance
    ratio: float = 0.0
    rival: Generation | None = None
    speeds: tuple[float, ...] = ()
    warning: str = ""

    @property
    def baseline(self) -> server_speed.Baseline | None:
        """Return the speed below which the new generation is compared more closely; None if any speed is good."""
        if self.rival is None:
            return None
        return server_speed.Baseline(self.ratio, max((*self.speeds, 0.0)) or self.rival.speed, self.rival.number)

    def look(self, process: processes.Process | None) -> None:
        """Take the rival's speed while it still serves as ``process``."""
        rival = self.rival
        if rival is None or process is None or not self.instance.runs(rival, process):
            return
        try:
            ask = beside.asker_of(rival, process)
            self.speeds = tuple(turns.ask_for(ask).speed for _try in range(server_speed.TRIES))
        except (server_gate.GateError, OSError):
            self.speeds = ()  # it is the old one that does not answer

    def judge(self, passed: server_gate.Passed, ask: server_gate.Ask) -> None:
        """Raise GateError if the new server, which passed its gate, is too slow. Keep a warning if nothing tells."""
        baseline = self.baseline
        if self.rival is None or baseline is None or not passed.speeds or baseline.is_met(passed.speed):
            return
        try:
            compared, reason = self._in_turns(self.rival, ask), "it told no speed"
        except (beside.NoRoomError, server_gate.GateError) as error:
            compared, reason = turns.one_after_other(self.speeds, passed.speeds), str(error)
        if compared is None:
            self.warning = (
                f"it generates {passed.speed:.1f} tokens a second, and generation {self.rival.number} had "
                f"{baseline.speed:.1f} at another time; the two could not be compared in turns: {reason}"
            )
        elif compared.is_below(self.ratio):
            raise server_gate.GateError(
                f"it generates {compared} as generation {self.rival.number}, less than "
                f"llama_server_min_speed_ratio, {self.ratio:g}"
            )

    def _in_turns(self, rival: Generation, ask: server_gate.Ask) -> turns.Compared | None:
        self.instance.progress.stage(f"comparing its speed with generation {rival.number} in turns")
        with beside.running(self.instance, rival) as before:
            return turns.in_turns(before, ask).speed


def contest(instance: Instance, generation: Generation, before: Generation | None, measured: bool) -> Contest:
    """Return the contest of ``generation``; its rival is ``before``, else the newest good one with the same model.

    Without a rival it is over at once: if not ``measured``, and for a server that generates no text.
    """
    ratio = instance.options.min_speed_ratio if measured else 0.0
    if ratio <= 0 or gating.mode_of(generation.options) != "completion":
        return Contest(instance)
    rival = server_speed.rival(generation.model, before, reversed(instance.store.all()))
    return Contest(instance, ratio, rival)
