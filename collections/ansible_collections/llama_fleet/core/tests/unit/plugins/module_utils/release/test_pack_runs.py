# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test concurrent runs that pack into the same folder, and runs that are killed."""

from __future__ import annotations

import concurrent.futures
import hashlib
import os
import pathlib
import shutil
import signal
import subprocess
import sys

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.host import files
from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import run
from ansible_collections.llama_fleet.core.plugins.module_utils.progress import parse
from ansible_collections.llama_fleet.core.plugins.module_utils.release import pack as release_pack
from ansible_collections.llama_fleet.core.plugins.module_utils.release import signature
from ansible_collections.llama_fleet.core.tests.unit import waiting
from ansible_collections.llama_fleet.core.tests.unit.fakes import packed as fake_packed
from ansible_collections.llama_fleet.core.tests.unit.fakes.packed import Host, make_key

NAME = "b77-fefefefefefe"
COLLECTIONS = str(pathlib.Path(release_pack.__file__).parents[6])


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    path = tmp_path_factory.mktemp("key") / "key"
    make_key(path)
    return path


@pytest.fixture
def host(tmp_path: pathlib.Path, key: pathlib.Path) -> Host:
    return Host(tmp_path, fake_packed.publish(tmp_path / "root"), tmp_path / "packed", key)


def test_two_at_once_pack_once(host: Host) -> None:
    program = (
        "import pathlib, sys\n"
        "from ansible_collections.llama_fleet.core.plugins.module_utils.release import pack as release_pack\n"
        "from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import run\n"
        "from ansible_collections.llama_fleet.core.plugins.module_utils.progress import Progress\n"
        "release, folder, progress = map(pathlib.Path, sys.argv[1:])\n"
        "print(release_pack.pack(release, folder, None, Progress(str(progress)), run)[1])\n"
    )

    def waits(progress: pathlib.Path) -> bool:
        return progress.exists() and "waiting for another run" in getattr(
            parse(progress.read_text(encoding="utf-8")), "stage", ""
        )

    def start(number: int) -> str:
        command = [
            sys.executable,
            "-c",
            program,
            str(host.release),
            str(host.folder),
            str(host.root / f"progress{number}"),
        ]
        return subprocess.run(
            command, env={"PYTHONPATH": COLLECTIONS}, check=True, stdout=subprocess.PIPE, text=True, timeout=60
        ).stdout.strip()

    with concurrent.futures.ThreadPoolExecutor() as pool, files.locked(host.folder / ".lock"):
        # Both wait for the lock that this process holds.
        runs = [pool.submit(start, number) for number in range(2)]
        waiting.until(lambda: all(waits(host.root / f"progress{number}") for number in range(2)))
        assert not any(done.done() for done in runs)
    assert sorted(done.result() for done in runs) == ["False", "True"]
    assert host.names() == [".lock", f"{NAME}.json", f"{NAME}.tar.gz", "index.json"]


# A run that kills itself (SIGKILL) before its n-th rename.
KILLED = """
import os, pathlib, signal, sys
from ansible_collections.llama_fleet.core.plugins.module_utils.release import pack as release_pack
from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import run
from ansible_collections.llama_fleet.core.plugins.module_utils.progress import Progress

release, folder, key, number = sys.argv[1:]
renames, rename = [], os.replace

def replace(source, target):
    renames.append(target)
    if len(renames) == int(number):
        os.kill(os.getpid(), signal.SIGKILL)
    rename(source, target)

os.replace = replace
release_pack.pack(pathlib.Path(release), pathlib.Path(folder), pathlib.Path(key), Progress(), run)
"""


@pytest.mark.parametrize("number", [3, 4, 5, 6, 8])
def test_a_kill_never_leaves_an_index_that_lies(host: Host, number: int) -> None:
    """Pack a release again with other bytes and another key, beside a second release."""
    host.pack(host.key)
    other = host.root / "other"
    trusted = [host.key.with_name("key.pub").read_text(encoding="utf-8"), make_key(other)]
    another, _changed = host.pack(host.key, fake_packed.publish(host.root / "root", fingerprint="ab" * 32))
    shutil.rmtree(host.release)
    fake_packed.publish(host.root / "root", b"other bytes")
    command = [sys.executable, "-c", KILLED, str(host.release), str(host.folder), str(other), str(number)]
    killed = subprocess.run(
        command, env={"PYTHONPATH": COLLECTIONS, "PATH": os.environ["PATH"]}, check=False, timeout=60
    )
    assert killed.returncode == -signal.SIGKILL
    listed = host.listed()
    assert "b77-abababababab" in listed
    for name, entry in listed.items():
        archive = host.folder / f"{name}.tar.gz"
        assert hashlib.sha256(archive.read_bytes()).hexdigest() == entry["sha256"]
        assert signature.verify(archive, archive.with_name(f"{name}.tar.gz.sig"), trusted, run, "")
    packed, changed = host.pack(other)
    assert changed
    assert (
        signature.verify(packed.archive, packed.archive.with_name(f"{NAME}.tar.gz.sig"), trusted[1:], run, "")
        == "the other"
    )
    assert files.sha256_of(packed.archive) == packed.sha256
    kinds = [f"{name}.{kind}" for name in (NAME, "b77-abababababab") for kind in ("tar.gz", "tar.gz.sig", "json")]
    assert host.names() == sorted([".lock", "index.json", *kinds])
    assert host.pack(host.key, host.root / "root" / "releases" / "b77-abababababab") == (another, False)
