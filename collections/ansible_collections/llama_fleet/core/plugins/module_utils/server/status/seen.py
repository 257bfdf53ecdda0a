# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""An instance as it is found on a host."""

from __future__ import annotations

import dataclasses
import typing

if typing.TYPE_CHECKING:
    import pathlib

    from ansible_collections.llama_fleet.core.plugins.module_utils.host import processes
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.runtime import Runtime
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.state.generations import Generation


@dataclasses.dataclass(frozen=True)
class Seen:
    """One instance as it lies on disk and in the process table."""

    name: str
    folder: pathlib.Path
    generations: tuple[Generation, ...]
    number: int  # of the current generation, also where that cannot be read; 0 without one
    current: Generation | None
    runtime: Runtime
    own: tuple[processes.Process, ...]
    recorded: bool  # whether something remembers that the instance should run
    stopped: bool  # whether somebody asked for it to be stopped
    unreadable: tuple[str, ...]
    hidden: bool = False  # whether its engine does not tell whether it runs

    @property
    def process(self) -> processes.Process | None:
        return self.own[0] if self.own else None
