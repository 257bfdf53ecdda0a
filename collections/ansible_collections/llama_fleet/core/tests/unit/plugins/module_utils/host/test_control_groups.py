# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.host.control_groups import Memory, folders, memory

if typing.TYPE_CHECKING:
    import pathlib

UNIFIED = "sys/fs/cgroup"
OLD = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_")


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        ("0::/a.slice/b:c.service", [(UNIFIED, "/a.slice/b:c.service", "memory.max", "memory.current", "")]),
        ("4:cpu,memory:/x\n3:cpuset:/y\n2:memory_of_another_kind:/z", [(f"{UNIFIED}/memory", "/x", *OLD)]),
        (
            "7:memory:/x\n0::/y",
            [(f"{UNIFIED}/memory", "/x", *OLD), (UNIFIED, "/y", "memory.max", "memory.current", "")],
        ),
        ("nonsense", [(UNIFIED, "", "memory.max", "memory.current", "")]),
        ("", []),
    ],
)
def test_each_hierarchy_with_a_memory_controller(
    tmp_path: pathlib.Path, lines: str, found: list[tuple[str, ...]]
) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text(lines, encoding="utf-8")
    assert list(memory(tmp_path)) == [Memory(tmp_path / mount, *more) for mount, *more in found]


def test_a_host_that_tells_none_has_none(tmp_path: pathlib.Path) -> None:
    assert list(memory(tmp_path)) == []
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_bytes(b"\xff")
    assert list(memory(tmp_path)) == []


@pytest.mark.parametrize(
    ("group", "below"),
    [("/", [""]), ("/a.slice/b.scope", ["", "a.slice", "a.slice/b.scope"]), ("/../../init.scope", ["", "init.scope"])],
)
def test_every_parent_of_a_group_can_set_a_limit(tmp_path: pathlib.Path, group: str, below: list[str]) -> None:
    """A process that was moved out of its container's group sees it by a path with dots: no folder is outside."""
    assert folders(tmp_path, group) == [tmp_path / each for each in below]
