# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import time
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils import release_index
from ansible_collections.llama_fleet.core.plugins.plugin_utils.controller_cache import UNUSED, ControllerCache

COLLECTIONS = pathlib.Path(__file__).resolve().parents[7]
HOLD = """
import json, pathlib, sys, time
from ansible_collections.llama_fleet.core.plugins.plugin_utils.controller_cache import ControllerCache
with ControllerCache(pathlib.Path(sys.argv[1])).turn(json.loads(sys.argv[2]), lambda: None):
    print("holds", flush=True)
    time.sleep(60)
"""
PARTS = {"source": "ab" * 32, "libc": "glibc 2.36", "compiler": "gcc 12"}


def entry_of(name: str) -> release_index.Entry:
    return release_index.Entry(name, "cd" * 32, 7, "ef" * 32, PARTS, signed=False, packed=1)


def add(cache: ControllerCache, name: str) -> None:
    with cache.adding() as folder:
        (folder / f"{name}.tar.zst").write_bytes(b"archive")
        (folder / release_index.INDEX).write_text(json.dumps(release_index.render([entry_of(name)])), encoding="utf-8")


@pytest.fixture
def cache(tmp_path: pathlib.Path) -> ControllerCache:
    return ControllerCache(tmp_path / "releases")


@pytest.fixture
def holder(cache: ControllerCache) -> typing.Iterator[subprocess.Popen[str]]:
    """Another host's worker that has its turn."""
    command = [sys.executable, "-c", HOLD, str(cache.place), json.dumps(PARTS)]
    with subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(COLLECTIONS)}, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "holds\n"
        yield process
        process.kill()


def test_what_was_added_is_there(cache: ControllerCache) -> None:
    assert cache.entries() == {}
    add(cache, "b1-aaaaaaaaaaaa")
    add(cache, "b2-bbbbbbbbbbbb")
    add(cache, "b1-aaaaaaaaaaaa")
    assert cache.entries() == {name: entry_of(name) for name in ("b1-aaaaaaaaaaaa", "b2-bbbbbbbbbbbb")}
    assert [path.read_bytes() for path in cache.files(entry_of("b1-aaaaaaaaaaaa"))] == [b"archive"]
    assert [path.name for path in cache.place.iterdir() if path.name.startswith(".new")] == []


def test_what_broke_off_is_not(cache: ControllerCache) -> None:
    with pytest.raises(OSError, match="connection"), cache.adding() as folder:
        (folder / "b1-aaaaaaaaaaaa.tar.zst").write_bytes(b"arch")
        raise OSError("connection lost")
    assert list(cache.place.iterdir()) == []


def test_what_is_damaged_is_left_out(cache: ControllerCache) -> None:
    add(cache, "b1-aaaaaaaaaaaa")
    (cache.place / "b1-aaaaaaaaaaaa" / release_index.INDEX).write_text("{", encoding="utf-8")
    assert cache.entries() == {}


def test_what_nobody_takes_goes(cache: ControllerCache) -> None:
    for name in ("b1-aaaaaaaaaaaa", "b2-bbbbbbbbbbbb"):
        add(cache, name)
        long_ago = time.time() - UNUSED - 60
        os.utime(cache.place / name, (long_ago, long_ago))
        if name.startswith("b1"):
            cache.files(entry_of(name))  # taken
    add(cache, "b3-cccccccccccc")
    assert sorted(cache.entries()) == ["b1-aaaaaaaaaaaa", "b3-cccccccccccc"]


@pytest.mark.parametrize(
    ("change", "waits"), [({}, True), ({"compiler": "gcc 14"}, True), ({"libc": "glibc 2.41"}, False)], ids=["the same", "late", "another"]
)
def test_hosts_of_one_kind_wait_for_each_other(cache: ControllerCache, holder: subprocess.Popen[str], change: dict[str, str], waits: bool) -> None:
    waited = []

    def waiting() -> None:
        waited.append(True)
        holder.kill()

    with cache.turn({**PARTS, **change}, waiting):
        assert bool(waited) == waits
