# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""End the native build beside an instance, and keep its record true while a run replaces the release."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import signal
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.host import processes
from ansible_collections.llama_fleet.core.plugins.module_utils.release import background
from ansible_collections.llama_fleet.core.plugins.module_utils.release import store as release_store

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.instance import Instance
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.state.generations import Generation


def unit_of(instance: Instance) -> str:
    """Return the name of the transient unit that builds beside the instance."""
    return f"llama-fleet-{instance.options.instance}-background.service"


def in_unit(instance: Instance) -> bool:
    """Return whether the process gets a unit of its own. A server that it starts must not be in that unit."""
    return instance.host.systemd and instance.host.euid == 0 and instance.kind.own_control_group


def end(instance: Instance) -> None:
    """End the build of the instance's record with all that it has started, if it runs."""
    record = background.read(instance.options.folder)
    if not record.is_running:
        return
    if in_unit(instance):
        instance.host.run(["systemctl", "stop", unit_of(instance)])
    process = processes.find(record.pid)
    if process is None or process.started != record.started:
        return
    group = os.getpgid(process.pid)
    processes.stop(process, 10.0)
    # It leads the session of its builders. A server that it has started leads another one.
    if group == process.pid:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)


def is_native(release: str) -> bool:
    """Return whether the release at this path was not published by the project; false without one."""
    manifest = release_store.read_manifest(pathlib.Path(release)) if release else None
    return manifest is not None and manifest.get("origin") != "upstream"


def gives_way(instance: pathlib.Path, current: Generation | None, release: str) -> bool:
    """Return whether published binaries take the place of a native release that was built beside ``instance``.

    Their native build comes later, so their speed is not to be compared with that of the older one.
    """
    before = str(current.manifest.get("release", "")) if current else ""
    return bool(background.read(instance).target) and is_native(before) and not is_native(release)


@contextlib.contextmanager
def overtaken(instance: pathlib.Path) -> typing.Iterator[None]:
    """Replace the native release in the block: the next run compares again, unless the block raises an error."""
    record = background.read(instance)
    if record.outcome != background.SWITCHED:
        yield
        return
    reason = f"another release has taken the place of {record.build} native; the next run compares them again"
    background.write(instance, dataclasses.replace(record, outcome=background.OVERTAKEN, reason=reason))
    try:
        yield
    except Exception:
        background.write(instance, record)
        raise
