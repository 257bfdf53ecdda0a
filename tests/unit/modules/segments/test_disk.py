# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The file on the disk: reserved first, synced before the journal records it, and resumed by the next run."""

from __future__ import annotations

import dataclasses
import errno
import os
import shutil
import typing

import pytest

from tests.unit.modules.segments.case import (
    assert_nothing_left,
    assert_right,
    fetch,
    problem_of,
    requests,
)

if typing.TYPE_CHECKING:
    import pathlib

    from ansible_collections.llama_fleet.core.plugins.module_utils.transfer.request import Wanted
    from tests.hub import Hub


class TestDisk:
    def test_no_space_is_said_before_a_byte_is_fetched(
        self, hub: Hub, wanted: Wanted, small_disk: pathlib.Path
    ) -> None:
        full = dataclasses.replace(wanted, part=small_disk / "parts" / "x")
        assert problem_of(full).startswith(
            "disk space: expected room for the whole file, found no space left while writing "
            f"{full.part}.part. Fix: Make room there"
        )
        assert hub.settle() == []
        assert_nothing_left(full)

    def test_no_space_where_none_can_be_reserved(
        self, hub: Hub, wanted: Wanted, small_disk: pathlib.Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(os, "posix_fallocate", _raising(errno.EOPNOTSUPP))
        assert "no space left" in problem_of(dataclasses.replace(wanted, part=small_disk / "x"))
        assert hub.settle() == []

    def test_a_file_system_that_cannot_reserve(self, wanted: Wanted, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "posix_fallocate", _raising(errno.EOPNOTSUPP))
        fetch(wanted)
        assert_right(wanted)

    def test_a_disk_that_fails_on_the_way_is_no_fault_of_the_origin(
        self, hub: Hub, wanted: Wanted, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(os, "pwrite", _raising(errno.EIO))
        assert (
            f"{wanted.part}.part: expected a file that can be read and written, found {os.strerror(errno.EIO)}. "
            "Fix: Check the disk and run again"
        ) in problem_of(wanted)
        assert len(requests(hub, "storage")) == 1


def _raising(number: int) -> typing.Callable[..., int]:
    def fails(*_arguments: object) -> int:
        raise OSError(number, os.strerror(number))

    return fails


@pytest.fixture
def small_disk(tmp_path: pathlib.Path) -> typing.Iterator[pathlib.Path]:
    """Yield the folder of a file system that is too small for the file."""
    place = tmp_path / "disk"
    place.mkdir()
    if os.geteuid() != 0 or os.system(f"mount -t tmpfs -o size=1m none {place} 2>{tmp_path}/mount") != 0:
        pytest.skip("mounting a small file system needs root and the right to mount")
    yield place
    os.system(f"umount {place}")
    assert shutil.disk_usage(place).total > 1 << 20
