# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test taking a file out of a cache: what is linked, what is copied, and what is refused."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import stat
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.caches import take as caches_take
from ansible_collections.llama_fleet.core.plugins.module_utils.caches.lookup import Copy
from ansible_collections.llama_fleet.core.plugins.module_utils.caches.places import BLOBS, Place
from ansible_collections.llama_fleet.core.plugins.module_utils.caches.take import (
    CacheError,
    costs_nothing,
    is_safe,
    take,
)

if typing.TYPE_CHECKING:
    import pathlib

CONTENT = b"GGUF" + bytes(range(256)) * 8192  # two chunks and four bytes
SUM = hashlib.sha256(CONTENT).hexdigest()


def nothing(_count: int) -> None:
    """See no progress."""


@pytest.fixture
def blob(tmp_path: pathlib.Path) -> pathlib.Path:
    path = tmp_path / "cache" / "blob"
    path.parent.mkdir()
    path.write_bytes(CONTENT)
    path.chmod(0o644)
    return path


@pytest.fixture
def copy(blob: pathlib.Path) -> Copy:
    return Copy(Place(str(blob.parent), BLOBS), blob.name, len(CONTENT))


@pytest.fixture
def part(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / "store" / ".parts" / SUM


@pytest.mark.parametrize(
    ("user", "mode", "safe"),
    [
        (0, 0o644, True),
        (0, 0o444, True),
        (0, 0o664, False),  # its group could change the model
        (0, 0o646, False),
        (0, 0o600, False),  # the server's user could not read it
        (0, 0o640, False),
        (1, 0o644, False),  # its owner could change the model
    ],
)
def test_when_a_link_is_as_safe_as_a_copy(user: int, mode: int, safe: bool) -> None:
    status = os.stat_result((stat.S_IFREG | mode, 1, 1, 1, os.geteuid() + user, 0, 0, 0, 0, 0))
    assert is_safe(status) is safe


def test_the_user_s_own_file_is_linked(
    copy: Copy, blob: pathlib.Path, part: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    take(copy, part, SUM, seen.append)
    assert part.samefile(blob)
    assert seen[-1] == len(CONTENT)
    assert costs_nothing(copy, part.parent)
    monkeypatch.setattr(caches_take, "is_safe", lambda _status: False)
    assert not costs_nothing(copy, part.parent)


@pytest.mark.parametrize("mode", [0o664, 0o600])
def test_a_file_that_others_may_change_or_none_may_read_is_copied(
    mode: int, copy: Copy, blob: pathlib.Path, part: pathlib.Path
) -> None:
    blob.chmod(mode)
    take(copy, part, SUM, nothing)
    assert part.read_bytes() == CONTENT
    assert not part.samefile(blob)
    assert stat.S_IMODE(part.stat().st_mode) & 0o044 == 0o044
    assert stat.S_IMODE(blob.stat().st_mode) == mode
    assert not costs_nothing(copy, part.parent)
    blob.write_bytes(b"changed")
    assert part.read_bytes() == CONTENT


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to have a file of another user")
def test_a_file_of_another_user_is_copied_and_becomes_ours(copy: Copy, blob: pathlib.Path, part: pathlib.Path) -> None:
    os.chown(blob, 12345, 12345)
    take(copy, part, SUM, nothing)
    assert (part.stat().st_uid, part.stat().st_gid) == (0, 0)
    assert not part.samefile(blob)
    assert blob.stat().st_nlink == 1


def test_without_links_it_is_copied(
    copy: Copy, blob: pathlib.Path, part: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_arguments: object, **_more: object) -> None:
        raise OSError(errno.EXDEV, "another file system")

    monkeypatch.setattr(os, "link", refuse)
    seen: list[int] = []
    take(copy, part, SUM, seen.append)
    assert part.read_bytes() == CONTENT
    assert not part.samefile(blob)
    assert seen[-1] == len(CONTENT)
    assert len(seen) > 1


def test_a_clone_shares_blocks_and_is_read_again(
    copy: Copy, blob: pathlib.Path, part: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file system of the tests may have no clones, so the request is answered here."""
    blob.chmod(0o600)
    asked: list[int] = []

    def clone(target: int, request: int, source: int) -> None:
        asked.append(request)
        os.write(target, os.pread(source, len(CONTENT), 0)[:-1] + b"!")
        os.lseek(target, 0, os.SEEK_SET)

    monkeypatch.setattr(fcntl, "ioctl", clone)
    with pytest.raises(CacheError, match="other bytes"):
        take(copy, part, SUM, nothing)
    assert asked == [0x40049409]


@pytest.mark.parametrize("mode", [0o644, 0o600])
@pytest.mark.parametrize("content", [CONTENT[:-1] + b"!", CONTENT[:-1], CONTENT + b"more", b""])
def test_wrong_bytes_leave_nothing(
    mode: int, content: bytes, copy: Copy, blob: pathlib.Path, part: pathlib.Path
) -> None:
    blob.write_bytes(content)
    blob.chmod(mode)
    part.parent.mkdir(parents=True)
    part.write_bytes(b"of a killed run")
    if len(content) > len(CONTENT) and mode == 0o600:  # it grew after it was looked at, and only the first are taken
        take(copy, part, SUM, nothing)
        assert part.read_bytes() == CONTENT
        return
    with pytest.raises(CacheError, match="other bytes than its name says"):
        take(copy, part, SUM, nothing)
    assert list(part.parent.iterdir()) == []
    assert blob.read_bytes() == content


def test_a_file_that_is_gone(copy: Copy, blob: pathlib.Path, part: pathlib.Path) -> None:
    blob.unlink()
    with pytest.raises(CacheError, match="cannot be read"):
        take(copy, part, SUM, nothing)
    assert not costs_nothing(copy, part.parent)


def test_a_full_disk_is_no_fault_of_the_cache(
    copy: Copy, blob: pathlib.Path, part: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "full")

    blob.chmod(0o600)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="full"):
        take(copy, part, SUM, nothing)
    assert not part.exists()


def test_the_file_that_was_opened_is_linked_whatever_its_name_means_now(
    copy: Copy, blob: pathlib.Path, part: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def swapped(status: os.stat_result) -> bool:
        blob.unlink()
        blob.write_bytes(b"other")
        return is_safe(status)

    before = blob.stat().st_ino
    held = blob.with_name("held")
    os.link(blob, held)
    monkeypatch.setattr(caches_take, "is_safe", swapped)
    take(copy, part, SUM, nothing)
    assert part.stat().st_ino == before
