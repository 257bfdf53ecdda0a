# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Keep the record of a native build true while a run replaces the release of its instance."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.release import background
from ansible_collections.llama_fleet.core.plugins.module_utils.release import store as release_store

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.state.generations import Generation


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
