# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A file system that takes nothing more, from each of a run's writes on: the old server goes on or the new one
serves and is known as good, and all is told.
"""

from __future__ import annotations

import contextlib
import errno
import os
import pathlib
import shutil
import subprocess
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.server.state.store import Store

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.tests.unit.module_runs import Instance

MOST = 80


def check(instance: Instance, result: dict[str, typing.Any], numbers: tuple[int, int]) -> None:
    """One server, of the current generation, which is good and one of the two; a failure is one sentence that names
    the cause.
    """
    (pid,) = instance.servers()
    current = Store(instance.folder).current()
    assert current is not None
    environment = pathlib.Path(f"/proc/{pid}/environ").read_bytes()
    assert f"LLAMA_FLEET_GENERATION={current.number}\0".encode() in environment, (
        "the service is another generation than the current one"
    )
    assert (instance.answers(), current.number in numbers) == (200, True)
    if result.get("failed"):
        assert any(
            cause in result["msg"] for cause in ("No space left on device", "Read-only file system", "cannot write")
        ), result["msg"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS], ids=["full", "read-only"])
def test_a_switch_on_a_disk_that_takes_nothing_more_ends_with_a_server_and_the_next_run_ends_it(
    instance: Instance, code: int
) -> None:
    pid = instance.good()["pid"]
    before, parallel, failed = 1, 1, 0
    for step in range(1, MOST, 2):
        parallel = parallel % 4 + 1
        result = instance.refused_at(step, code, parallel=parallel, keep=2)
        failed += bool(result.get("failed"))
        # A full disk is known before the old server is touched; one that takes nothing at all may be known later.
        assert not result.get("failed") or code == errno.EROFS or instance.servers() == [pid]
        check(instance, result, (before, max(found.number for found in Store(instance.folder).all())))
        after = instance.good(parallel=parallel, keep=2)
        assert (after["ready"], instance.answers(), instance.servers()) == (True, 200, [after["pid"]])
        assert instance.manifest(after["generation"])["good"]
        before, pid = after["generation"], after["pid"]
        if not result.get("failed"):
            break
    assert failed > 4, "there are as many writes in a switch"
    assert step < MOST - 2


def test_a_release_that_is_not_good_on_a_full_disk_gives_way_to_the_old_one(instance: Instance) -> None:
    instance.good()
    broken = instance.release("broken", crash="never")
    told = []
    for step in range(1, MOST):
        result = instance.refused_at(step, errno.ENOSPC, release=broken)
        check(instance, {}, (1, 1))
        told.append(str(result["msg"]))
        if "llama-server ended with exit status 1" in told[-1] and "No space" not in told[-1]:
            break
    assert any("generation 1 is back in service" in message for message in told)
    assert all("not good either" not in message for message in told)


@pytest.mark.parametrize("state", ["rolled_back", "stopped", "absent"])
def test_on_a_read_only_disk_a_server_goes_on_or_is_down_as_wanted(instance: Instance, state: str) -> None:
    instance.good()
    instance.good(parallel=2)
    for step in (1, 2, 3, 5, 8):
        result = instance.refused_at(step, errno.EROFS, state=state)
        assert result.get("failed") is None or "Traceback" not in str(result["msg"])
    instance.good(state=state)
    assert len(instance.servers()) == (state == "rolled_back")


def test_a_folder_in_the_place_of_current_is_told_before_anything_is_touched(instance: Instance) -> None:
    pid = instance.good()["pid"]
    link = instance.folder / "current"
    link.unlink()
    (link / "kept").mkdir(parents=True)
    for arguments in (
        {"parallel": 2},
        {"parallel": 2, "_ansible_check_mode": True},
        {"state": "rolled_back"},
        {"state": "stopped"},
    ):
        told = instance.bad(**arguments)
        assert (
            f"{link}: expected a link that llama-fleet manages, found a folder in the place of the link to "
            "the current generation"
        ) in told
        assert (instance.servers(), instance.answers(), (link / "kept").is_dir()) == ([pid], 200, True)
    (link / "kept").rmdir()
    link.rmdir()
    after = instance.good(parallel=2)
    assert (instance.servers(), instance.current()) == ([after["pid"]], str(after["generation"]))


def test_a_folder_in_the_place_of_current_keeps_nobody_from_a_removal(instance: Instance) -> None:
    instance.good()
    (instance.folder / "current").unlink()
    (instance.folder / "current").mkdir()
    instance.good(state="absent")
    assert (instance.servers(), instance.folder.exists()) == ([], False)


@contextlib.contextmanager
def small_disk(folder: pathlib.Path) -> typing.Iterator[None]:
    """Mount a file system of 256 KiB on ``folder`` meanwhile."""
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"needs the right to mount: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("mount"), reason="needs root, to mount a small file system")
def test_on_a_real_disk_that_is_full_nothing_is_touched_and_with_room_the_same_run_ends(instance: Instance) -> None:
    with small_disk(instance.place / "small"):
        instance.arguments["root"] = str(instance.place / "small" / "etc")
        instance.folder = instance.place / "small" / "etc" / "instances" / "default"
        pid = instance.good()["pid"]
        filler = instance.place / "small" / "filler"
        with contextlib.suppress(OSError), filler.open("wb") as file:
            while True:
                file.write(bytes(4096))
                file.flush()
        told = instance.bad(parallel=2)
        assert "expected a writable place, found No space left on device. Fix: Make room there" in told
        assert (instance.servers(), instance.answers(), instance.current()) == ([pid], 200, "1")
        filler.unlink()
        after = instance.good(parallel=2)
        assert (instance.servers(), instance.manifest(2)["good"]) == ([after["pid"]], True)
        instance.end()
