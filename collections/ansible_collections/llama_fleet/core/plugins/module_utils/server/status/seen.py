# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Describe an instance by its files and processes."""

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
    """An instance as its files and processes show it."""

    name: str
    folder: pathlib.Path
    generations: tuple[Generation, ...]
    number: int  # of the current generation, even if that is unreadable; 0 without one
    current: Generation | None
    runtime: Runtime
    own: tuple[processes.Process, ...]
    recorded: bool  # whether a unit, container or record says that the instance should run
    stopped: bool  # whether a user stopped it through llama-fleet
    unreadable: tuple[str, ...]
    hidden: bool = False  # whether its container engine does not report its state

    @property
    def process(self) -> processes.Process | None:
        return self.own[0] if self.own else None
