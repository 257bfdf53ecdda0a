# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Find a runtime by its name. A new one is a file beside this one and a line in ``module_utils/runtimes.py``."""

from __future__ import annotations

import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.host import processes
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.runtimes import AUTO
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.classes import ALL
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.process import ProcessRuntime
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.systemd import SystemdRuntime
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.options import INSTANCE_VARIABLE

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.host import Place, RuntimeHost
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.runtime import Runtime
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.options import Options

RUNTIMES: dict[str, type[Runtime]] = {kind.name: kind for kind in ALL}


def named(name: str) -> type[Runtime]:
    """Return the runtime called ``name``; a plain process's for a name that this version does not know."""
    return RUNTIMES.get(name, ProcessRuntime)


def chosen(name: str, host: RuntimeHost) -> type[Runtime]:
    """Return the runtime called ``name``; with auto the first automatic one that ``host`` can have."""
    if name != AUTO:
        return named(name)
    return next(kind for kind in RUNTIMES.values() if kind.automatic and (host.systemd or not kind.needs_systemd))


def with_unit(runtime: Runtime) -> SystemdRuntime | None:
    """Return the runtime if it has a unit, whose text may be replaced while the server runs; None otherwise."""
    return runtime if isinstance(runtime, SystemdRuntime) else None


def others(name: str, place: Place, options: Options, used: typing.Collection[str]) -> list[Runtime]:
    """Return the runtimes other than ``name`` that have anything of the instance; with "" all that have.

    Each must be stopped and removed before another one starts. ``used`` are the names that the instance has ever had:
    a daemon that hangs is not asked about an instance that was never its own.
    """
    possible = [kind for kind in RUNTIMES.values() if place.host.systemd or not kind.needs_systemd]
    wanted = [kind for kind in possible if kind.name != name and (kind.name in used or not (name and kind.asks_daemon))]
    return [runtime for runtime in (kind.at(place, options) for kind in wanted) if _present(runtime, used)]


def _present(runtime: Runtime, used: typing.Collection[str]) -> bool:
    try:
        return runtime.present()
    except ProblemError:
        if runtime.name in used:
            raise
        return False


def own(current: str, place: Place, options: Options) -> list[processes.Process]:
    """Return the instance's living processes.

    ``current`` is the runtime of its current generation, because only an engine knows the processes in its containers.
    """
    kind = named(current)
    if kind.engine:
        # Podman's monitor of a container carries the instance's mark as well, and is no server.
        return [*kind.at(place, options).own(), *ProcessRuntime.at(place, options).own()]
    return processes.started_with(INSTANCE_VARIABLE, str(place.folder))
