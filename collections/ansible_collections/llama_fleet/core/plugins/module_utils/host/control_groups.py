# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Find the memory control groups (version 1 or 2) of this process."""

from __future__ import annotations

import dataclasses
import typing

if typing.TYPE_CHECKING:
    import pathlib


@dataclasses.dataclass(frozen=True)
class Memory:
    """The memory controller of one cgroup hierarchy: its mount point, this process's group and its file names."""

    mount: pathlib.Path
    group: str
    limit: str = "memory.max"
    used: str = "memory.current"
    # Prefix of the figures in memory.stat that include the child groups.
    prefix: str = ""


def folders(mount: pathlib.Path, group: str) -> list[pathlib.Path]:
    """Return the folders of a control group and of all its parents, each of which can set a limit, the topmost first.

    A container sees its own group as the mount point itself, under another name.
    """
    parts = [part for part in group.split("/") if part not in ("", "..")]
    return [mount.joinpath(*parts[:count]) for count in range(len(parts) + 1)]


def memory(root: pathlib.Path) -> typing.Iterator[Memory]:
    """Yield each memory control group that this process belongs to."""
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return
    for line in lines:
        _hierarchy, controllers, group = ([*line.split(":", 2), "", ""])[:3]
        if not controllers:
            yield Memory(root / "sys/fs/cgroup", group)
        elif "memory" in controllers.split(","):
            yield Memory(
                root / "sys/fs/cgroup/memory", group, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_"
            )
