# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""One instance on this host: the object that the plan, the switch, the rollback and the stop of a run share."""

from __future__ import annotations

import dataclasses
import functools
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.host import processes
from ansible_collections.llama_fleet.core.plugins.module_utils.progress import Progress
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes import registry
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.host import Place, RuntimeHost
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.options import (
    GENERATION_VARIABLE,
    Options,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.server.state.store import Store

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.runtime import Runtime
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.state.generations import Generation


@dataclasses.dataclass(frozen=True)
class Instance:
    """An instance: the options that are wanted, and its generations, runtimes and processes on the host.

    Its methods only look. To change something, use its store or one of its runtimes.
    """

    options: Options
    host: RuntimeHost
    progress: Progress = dataclasses.field(default_factory=Progress)

    @functools.cached_property
    def store(self) -> Store:
        """Return the instance's generations on disk."""
        return Store(self.options.folder)

    @property
    def place(self) -> Place:
        """Return where the instance is on the host."""
        return Place(self.options.folder, self.options.runtime_root, self.host)

    @property
    def kind(self) -> type[Runtime]:
        """Return the runtime that is wanted, not bound to the instance."""
        return registry.chosen(self.options.runtime, self.host)

    def runtime(self, generation: Generation | None = None) -> Runtime:
        """Return the runtime of ``generation``, or the one that is wanted."""
        if generation is None:
            return self.kind.at(self.place, self.options)
        return registry.named(generation.runtime).at(self.place, self.options_of(generation))

    def other_runtimes(self, name: str) -> list[Runtime]:
        """Return the runtimes other than ``name`` that have anything of the instance; with "" all that have."""
        used = {self.kind.name, *(generation.runtime for generation in self.store.all())}
        return registry.others(name, self.place, self.options, used)

    def own_processes(self) -> list[processes.Process]:
        """Return the instance's living processes."""
        current = self.store.current()
        return registry.own(current.runtime if current else self.kind.name, self.place, self.options)

    def process(self) -> processes.Process | None:
        """Return the first of the instance's living processes."""
        return next(iter(self.own_processes()), None)

    def pids(self) -> list[int]:
        """Return the numbers of the instance's living processes."""
        return [process.pid for process in self.own_processes()]

    def options_of(self, generation: Generation) -> Options:
        """Return the options from which ``generation`` was made, over ours where it has none."""
        names = {field.name for field in dataclasses.fields(Options)}
        recorded: dict[str, typing.Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in generation.options.items()
        }
        known = {name: value for name, value in recorded.items() if name in names}
        return dataclasses.replace(
            self.options, **{**known, "runtime": generation.runtime, "api_key": generation.api_key, "api_keys": ()}
        )

    def at(self, generation: Generation) -> Instance:
        """Return the same instance as ``generation`` wants it, without progress."""
        return Instance(self.options_of(generation), self.host)

    def runs(self, generation: Generation | None, process: processes.Process | None) -> bool:
        """Return whether ``generation``, and no other, runs; always true if the caller executes it."""
        if generation is None:
            return False
        runtime = self.runtime(generation)
        if runtime.needs_gate_port:
            return True
        if process is None:
            return False
        number = processes.environment(process.pid).get(GENERATION_VARIABLE)
        return number == str(generation.number) and runtime.settled(generation)
