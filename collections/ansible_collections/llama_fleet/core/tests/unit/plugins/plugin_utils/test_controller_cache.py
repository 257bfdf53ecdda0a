# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import os
import pathlib
import shutil
import subprocess
import sys
import time
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.release import index as release_index
from ansible_collections.llama_fleet.core.plugins.plugin_utils import controller_cache
from ansible_collections.llama_fleet.core.plugins.plugin_utils.builders import Builder
from ansible_collections.llama_fleet.core.plugins.plugin_utils.controller_cache import (
    RECORD,
    UNUSED,
    Accepted,
    ControllerCache,
)

COLLECTIONS = pathlib.Path(__file__).resolve().parents[7]
HOLD = """
import pathlib, sys, time
from ansible_collections.llama_fleet.core.plugins.plugin_utils.controller_cache import ControllerCache
with ControllerCache(pathlib.Path(sys.argv[1])).turn("one kind", lambda: None, keep=True):
    print("holds", flush=True)
    time.sleep(60)
"""
H1, H2 = Builder("h1", "192.0.2.1:22"), Builder("h2", "192.0.2.2:22")
NAMES = ("b1-aaaaaaaaaaaa", "b2-bbbbbbbbbbbb", "b3-cccccccccccc")


def entry_of(name: str) -> release_index.Entry:
    return release_index.Entry(name, "cd" * 32, 7, "ef" * 32, {"source": "ab" * 32}, signed=True, packed=1)


def add(
    cache: ControllerCache, name: str, builder: Builder = H1, content: bytes = b"archive", own: bool = False
) -> bool:
    with cache.arriving() as folder:
        archive, signature = folder / f"{name}.tar.gz", folder / "sig"
        archive.write_bytes(content)
        signature.write_bytes(b"its own")
        return cache.add(entry_of(name), archive, builder, signature if own else None)


def names(cache: ControllerCache) -> list[tuple[str, str]]:
    return [(each.entry.name, each.builder.host) for each in cache.accepted()]


@pytest.fixture
def cache(tmp_path: pathlib.Path) -> ControllerCache:
    return ControllerCache(tmp_path / "releases")


@pytest.fixture
def holder(cache: ControllerCache) -> typing.Iterator[subprocess.Popen[str]]:
    """Start another host's worker that holds its turn."""
    command = [sys.executable, "-c", HOLD, str(cache.place)]
    with subprocess.Popen(
        command, env={**os.environ, "PYTHONPATH": str(COLLECTIONS)}, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "holds\n"
        yield process
        process.kill()


def test_what_was_added_is_there_signed_by_the_controller(cache: ControllerCache) -> None:
    assert cache.accepted() == []
    assert add(cache, NAMES[0])
    assert add(cache, NAMES[1], H2, own=True)
    first, second = cache.accepted()
    assert (first.entry, first.builder, first.signed) == (entry_of(NAMES[0]), H1, False)
    assert (second.entry, second.builder, second.signed) == (entry_of(NAMES[1]), H2, True)
    assert [(path.read_bytes()[:15], name) for path, name in second.files(own=True)] == [
        (b"archive", f"{NAMES[1]}.tar.gz"),
        (b"its own", f"{NAMES[1]}.tar.gz.sig"),
    ]
    assert first.files(own=False)[1][0].read_bytes().startswith(b"-----BEGIN SSH SIGNATURE")
    cache.take(first)
    assert [path.name for path in cache.place.iterdir() if path.name.startswith((".new", ".unpacked"))] == []


def test_an_entry_is_never_replaced(cache: ControllerCache) -> None:
    assert add(cache, NAMES[0], content=b"first")
    assert not add(cache, NAMES[0], content=b"another")
    (kept,) = cache.accepted()
    assert kept.archive.read_bytes() == b"first"
    # A release of another builder has its own folder, and hides no other.
    assert add(cache, NAMES[0], H2, content=b"of h2")
    assert add(cache, NAMES[0], Builder("h1", "198.51.100.1:22"), content=b"of another h1")
    assert kept.archive.read_bytes() == b"first"
    assert len(names(cache)) == 3


def test_the_key_is_made_once_and_nobody_elses_to_read(cache: ControllerCache) -> None:
    signer = cache.signer()
    assert signer.startswith("ssh-ed25519 ")
    assert cache.signer() == signer
    assert (
        cache.key().stat().st_mode & 0o777,
        cache.key().parent.stat().st_mode & 0o777,
        cache.place.stat().st_mode & 0o777,
    ) == (0o600, 0o700, 0o700)


def test_bytes_that_were_changed_since_are_not_taken(cache: ControllerCache) -> None:
    add(cache, NAMES[0])
    (accepted,) = cache.accepted()
    accepted.archive.write_bytes(b"changed")
    with pytest.raises(ProblemError, match="is invalid"):
        cache.take(accepted)


def test_what_another_key_signed_is_not_taken(cache: ControllerCache, tmp_path: pathlib.Path) -> None:
    add(cache, NAMES[0])
    other = ControllerCache(tmp_path / "other")
    add(other, NAMES[0])
    shutil.copy(other.accepted()[0].signature, cache.accepted()[0].signature)
    with pytest.raises(ProblemError, match="which is by ssh-ed25519"):
        cache.take(cache.accepted()[0])


def test_another_users_folder_is_refused(cache: ControllerCache, monkeypatch: pytest.MonkeyPatch) -> None:
    add(cache, NAMES[0])
    monkeypatch.setattr(controller_cache.os, "geteuid", lambda: 4711)
    for act in (cache.accepted, cache.key, lambda: add(cache, NAMES[1])):
        with pytest.raises(ProblemError, match="belongs to another user"):
            act()


def test_a_folder_that_others_could_write_to_is_closed(cache: ControllerCache) -> None:
    cache.place.mkdir(mode=0o777)
    cache.place.chmod(0o777)
    assert cache.accepted() == []
    assert cache.place.stat().st_mode & 0o777 == 0o700


def test_what_broke_off_is_not(cache: ControllerCache) -> None:
    with pytest.raises(OSError, match="connection"), cache.arriving() as folder:
        (folder / f"{NAMES[0]}.tar.gz").write_bytes(b"arch")
        raise OSError("connection lost")
    assert list(cache.place.iterdir()) == []


def record(accepted: Accepted, **changes: object) -> str:
    told = json.loads((accepted.folder / RECORD).read_text(encoding="utf-8"))
    return json.dumps({**told, **changes})


@pytest.mark.parametrize(
    "spoil",
    [
        lambda _accepted: "{",
        lambda _accepted: "[]",
        lambda accepted: record(accepted, builder={"host": "h2", "address": "192.0.2.2:22"}),
        lambda accepted: record(accepted, index=release_index.render([entry_of(NAMES[1])])),
        lambda accepted: record(accepted, index={"format": 1}),
        lambda accepted: record(accepted, signed="yes"),
    ],
)
def test_what_is_damaged_is_left_out(cache: ControllerCache, spoil: typing.Callable[[Accepted], str]) -> None:
    add(cache, NAMES[0])
    (accepted,) = cache.accepted()
    (accepted.folder / RECORD).write_text(spoil(accepted), encoding="utf-8")
    assert cache.accepted() == []


def test_what_nobody_takes_goes(cache: ControllerCache) -> None:
    for name in NAMES[:2]:
        add(cache, name)
    for accepted in cache.accepted():
        long_ago = time.time() - UNUSED - 60
        os.utime(accepted.folder, (long_ago, long_ago))
    for kept in (".key", ".locks"):
        os.utime(cache.place / kept, (long_ago, long_ago))
    cache.take(cache.accepted()[0])
    add(cache, NAMES[2])
    assert [name for name, _host in names(cache)] == [NAMES[0], NAMES[2]]
    assert cache.key().exists()


@pytest.mark.parametrize(
    ("of", "keep", "waits"), [("one kind", True, True), ("one kind", False, True), ("another", True, False)]
)
def test_hosts_of_one_kind_wait_for_each_other(
    cache: ControllerCache, holder: subprocess.Popen[str], of: str, keep: bool, waits: bool
) -> None:
    waited = []

    def waiting() -> None:
        waited.append(True)
        holder.kill()

    with cache.turn(of, waiting, keep):
        assert bool(waited) == waits


def test_one_who_only_takes_lets_others_build_beside_it(cache: ControllerCache) -> None:
    child = f"""
import pathlib
from ansible_collections.llama_fleet.core.plugins.plugin_utils.controller_cache import ControllerCache
with ControllerCache(pathlib.Path({str(cache.place)!r})).turn("one kind", lambda: print("waits"), keep=True):
    print("holds")
"""
    for keep, said in ((False, "holds\n"), (True, "waits\n")):
        with cache.turn("one kind", lambda: None, keep):
            command = [sys.executable, "-u", "-c", child]
            with subprocess.Popen(
                command, env={**os.environ, "PYTHONPATH": str(COLLECTIONS)}, stdout=subprocess.PIPE, text=True
            ) as process:
                assert process.stdout
                assert process.stdout.readline() == said
                process.kill()
