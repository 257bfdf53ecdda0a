# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Where the kernel says how much memory this process's control groups may use, in either version of them."""

from __future__ import annotations

import dataclasses
import typing

if typing.TYPE_CHECKING:
    import pathlib


@dataclasses.dataclass(frozen=True)
class Memory:
    """The memory controller of one hierarchy: where it is mounted, this process's group in it, and what it calls
    its files and figures.
    """

    mount: pathlib.Path
    group: str
    limit: str = "memory.max"
    used: str = "memory.current"
    # Before a figure that counts the groups below as well.
    prefix: str = ""


def memory(root: pathlib.Path) -> typing.Iterator[Memory]:
    """Each that this process is in."""
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
