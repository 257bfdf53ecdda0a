# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test packing with the real zstandard and ssh-keygen."""

from __future__ import annotations

import errno
import gzip
import io
import os
import shutil
import tarfile
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.host import cpus, files
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.progress import Progress
from ansible_collections.llama_fleet.core.plugins.module_utils.release import archive as release_archive
from ansible_collections.llama_fleet.core.plugins.module_utils.release import pack
from ansible_collections.llama_fleet.core.plugins.module_utils.release.packed_folder import Packed
from ansible_collections.llama_fleet.core.plugins.module_utils.untrusted import Plain
from ansible_collections.llama_fleet.core.tests.unit.fakes import packed as fake_packed
from ansible_collections.llama_fleet.core.tests.unit.fakes.packed import Host, make_key

if typing.TYPE_CHECKING:
    import pathlib

NAME = "b77-fefefefefefe"


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    path = tmp_path_factory.mktemp("key") / "key"
    make_key(path)
    return path


@pytest.fixture
def host(tmp_path: pathlib.Path, key: pathlib.Path) -> Host:
    return Host(tmp_path, fake_packed.publish(tmp_path / "root"), tmp_path / "packed", key)


def test_a_packed_release_unpacks_to_the_same(host: Host) -> None:
    assert host.plan()
    packed, changed = host.pack()
    assert changed
    assert packed == Packed(
        host.folder / f"{NAME}.tar.gz", files.sha256_of(packed.archive), packed.archive.stat().st_size, False
    )
    staged = host.root / "staged"
    manifest = fake_packed.unpack(packed.archive, staged)
    assert (
        manifest
        == files.read_json(host.release / "manifest.json", Plain())
        == files.read_json(host.folder / f"{NAME}.json", Plain())
    )
    assert not (staged / "manifest.json").exists()
    for name in [*manifest["files"], *manifest["links"]]:
        assert (staged / name).read_bytes() == (host.release / name).read_bytes()
        assert os.path.islink(staged / name) == (name in manifest["links"])
    assert (staged / "bin" / "llama-server").stat().st_mode & 0o777 == 0o755
    assert (staged / "licenses" / "LICENSE").stat().st_mode & 0o777 == 0o644


def test_both_ways_tell_how_far_they_are(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[int, int, str]] = []
    monkeypatch.setattr(Progress, "update", lambda _self, *values: told.append(values))
    packed, _changed = host.pack()
    packing = told.copy()
    fake_packed.unpack(packed.archive, host.root / "staged")
    size = sum(map(len, fake_packed.FILES.values()))
    for steps in (packing, told[len(packing) :]):
        assert steps == sorted(steps)
        assert steps[-1] == (size, size, "bytes")


def test_nothing_to_do_the_second_time(host: Host) -> None:
    """The second run reads neither the release's files nor the archive."""
    packed, _changed = host.pack(host.key)
    assert packed.signed
    content = [path for path in (*host.release.rglob("bin/*"), packed.archive) if path.is_file()]
    for path in content:
        size = path.stat().st_size
        path.write_bytes(b"?" * size)
    before = {path: path.stat().st_mtime_ns for path in host.folder.iterdir()}
    for key in (None, host.key):
        assert host.plan(key) is False
        assert host.pack(key) == (packed, False)
    assert {path: path.stat().st_mtime_ns for path in host.folder.iterdir()} == before


def test_a_plan_touches_nothing(host: Host) -> None:
    assert host.plan(host.key)
    assert not host.folder.exists()


def test_the_archive_is_the_same_wherever_it_is_packed(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    packed, _changed = host.pack()
    other = fake_packed.publish(host.root / "other")
    for path in other.rglob("*"):
        os.utime(path, (1, 1), follow_symlinks=False)
    monkeypatch.setattr(cpus, "observe", lambda: cpus.Cpus(7, 7))
    shutil.rmtree(host.folder)
    assert host.pack(release=other)[0].sha256 == packed.sha256
    assert packed.archive.read_bytes()[3:8] == bytes(5), "no name and no time in the header"
    with (
        packed.archive.open("rb") as archive,
        tarfile.open(fileobj=io.BytesIO(gzip.decompress(archive.read()))) as tar,
    ):
        members = tar.getmembers()
    assert [member.name for member in members] == [
        "manifest.json",
        *sorted([*fake_packed.FILES, *fake_packed.LINKS, "bin/more"]),
    ]
    assert {(member.uid, member.gid, member.uname, member.gname, member.mtime) for member in members} == {
        (0, 0, "", "", 315532800)
    }


@pytest.mark.parametrize("damage", ["size", "bytes", "gone", "no manifest"])
def test_a_damaged_release_is_not_packed(host: Host, damage: str) -> None:
    program = host.release / "bin" / "llama-server"
    if damage == "no manifest":
        (host.release / "manifest.json").unlink()
    elif damage == "gone":
        program.unlink()
    else:
        program.write_bytes(program.read_bytes()[:-1] + (b"?" if damage == "bytes" else b""))
    with pytest.raises(ProblemError, match=r"^release: expected a whole release.*, found .*"):
        host.pack()
    assert not host.folder.exists() or host.names() == [".lock"]


def test_names_that_would_lead_elsewhere(host: Host) -> None:
    manifest = files.read_json(host.release / "manifest.json", Plain()) or {}
    files.write_json(host.release / "manifest.json", {**manifest, "build": "../b77"})
    with pytest.raises(ProblemError, match=r"^release: expected .+, found"):
        host.plan()


@pytest.mark.parametrize("place", ["file", "not ours", "closed", "full"])
def test_a_folder_that_takes_nothing(host: Host, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    if place == "file":
        host.folder.write_text("a file", encoding="utf-8")
    elif place == "not ours":
        monkeypatch.setattr(os, "access", lambda *_arguments: False)
    elif place == "closed":
        monkeypatch.setattr(pack, "locked", lambda *_arguments: os.stat(host.folder / "none"))
    else:
        monkeypatch.setattr(release_archive.HashingFile, "_file", Full(), raising=False)
    told = {
        "full": "disk space: expected .*, found no space left",
        "not ours": "llama_cpp_pack_to: expected .*, found .*, which this user",
    }
    with pytest.raises(ProblemError, match=f"^{told.get(place, 'llama_cpp_pack_to: expected .*, found')}"):
        host.pack()
    assert not host.folder.is_dir() or host.names() == [".lock"]


class Full:
    """A fake file on a full disk that ignores all settings."""

    def __get__(self, _instance: object, _owner: object) -> Full:
        return self

    def __set__(self, _instance: object, _value: object) -> None:
        pass

    def write(self, _data: bytes) -> typing.NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_key_that_cannot_sign_leaves_the_folder_as_it_was(host: Host) -> None:
    host.pack()
    before = {path: path.read_bytes() for path in host.folder.iterdir()}
    locked = host.root / "locked"
    make_key(locked, passphrase="hidden")
    with pytest.raises(ProblemError, match=r"^llama_cpp_signing_key: expected .+, found"):
        host.pack(locked)
    assert {path: path.read_bytes() for path in host.folder.iterdir()} == before
    with pytest.raises(ProblemError, match=r"^llama_cpp_signing_key: expected .+, found"):
        host.plan(host.root / "none")


def test_the_private_key_is_nowhere(host: Host) -> None:
    host.pack(host.key)
    secret = host.key.read_text(encoding="utf-8").splitlines()[2]
    assert [path for path in host.root.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()] == []
