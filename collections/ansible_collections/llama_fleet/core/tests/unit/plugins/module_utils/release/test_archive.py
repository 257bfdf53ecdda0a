# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test archives that we did not pack ourselves."""

from __future__ import annotations

import gzip
import lzma
import os
import re
import shutil
import tarfile
import tracemalloc
import typing

import pytest
import zstandard

from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import run
from ansible_collections.llama_fleet.core.plugins.module_utils.plain_text import printable
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.progress import Progress
from ansible_collections.llama_fleet.core.plugins.module_utils.release import pack
from ansible_collections.llama_fleet.core.plugins.module_utils.release.index import SUFFIXES
from ansible_collections.llama_fleet.core.tests.unit.fakes import packed as fake_packed
from ansible_collections.llama_fleet.core.tests.unit.fakes.packed import (
    borrow,
    manifest_of,
    member,
    publish,
    write_archive,
)

if typing.TYPE_CHECKING:
    import pathlib

A, B = b"first" * 100, b"second" * 100
FILES = {"bin/a": A, "bin/b": B}
LINKS = {"bin/c": "a"}
GOOD = [member("bin/a", A), member("bin/b", B), member("bin/c", kind=tarfile.SYMTYPE, link="a")]
GOOD_MANIFEST = manifest_of(FILES, LINKS)


def unpack(archive: pathlib.Path) -> list[str]:
    """Return the names of the unpacked files.

    The target lies deep enough for every path that leads out of it.
    """
    outside = archive.parent / "outside"
    staged = outside / "releases" / "staged"
    fake_packed.unpack(archive, staged)
    return sorted(str(path.relative_to(staged)) for path in staged.rglob("*"))


def refused(archive: pathlib.Path, reason: str) -> None:
    """Require that the archive is refused for ``reason`` and that nothing is left or written elsewhere."""
    before = sorted(archive.parent.iterdir())
    with pytest.raises(
        ProblemError,
        match=(
            "^packed release: expected an archive packed by llama-fleet, found "
            f"{re.escape(str(archive))} with .*{re.escape(reason)}.* Fix: Do not trust it"
        ),
    ):
        unpack(archive)
    assert not (archive.parent / "outside" / "releases" / "staged").exists()
    shutil.rmtree(archive.parent / "outside")
    assert sorted(archive.parent.iterdir()) == before


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_one_that_is_good(tmp_path: pathlib.Path, suffix: str) -> None:
    assert unpack(write_archive(tmp_path / f"x{suffix}", GOOD_MANIFEST, *GOOD)) == ["bin", "bin/a", "bin/b", "bin/c"]


@pytest.mark.parametrize(("suffix", "lent"), [(".tar.gz", []), (".tar.zst", ["zstandard"])])
def test_only_zstd_needs_a_package(tmp_path: pathlib.Path, suffix: str, lent: list[str]) -> None:
    asked: list[str] = []

    def lend(name: str, requirements: typing.Sequence[str]) -> typing.ContextManager[typing.Any]:
        asked.append(name)
        return borrow(name, requirements)

    with write_archive(tmp_path / f"x{suffix}", GOOD_MANIFEST, *GOOD).open("rb") as file:
        assert pack.unpack(file, "x", tmp_path / "staged", lend, Progress()) == GOOD_MANIFEST
    assert asked == lent


def test_the_name_does_not_say_how_it_is_compressed(tmp_path: pathlib.Path) -> None:
    renamed = write_archive(tmp_path / "x.tar.zst", GOOD_MANIFEST, *GOOD).rename(tmp_path / "x.tar.gz")
    assert "bin/a" in unpack(renamed)


def test_the_order_of_its_members_is_free(tmp_path: pathlib.Path) -> None:
    assert unpack(write_archive(tmp_path / "x.tar.gz", GOOD_MANIFEST, *reversed(GOOD))) == [
        "bin",
        "bin/a",
        "bin/b",
        "bin/c",
    ]


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        (GOOD[:2], "truncated before bin/c"),
        ([*GOOD, member("bin/d", b"more")], "'bin/d' in it, which is not in its manifest"),
        ([*GOOD, member("../d", b"more")], "'../d' in it, which is not in its manifest"),
        ([*GOOD, member("bin", kind=tarfile.DIRTYPE)], "'bin' in it, which is not in its manifest"),
        ([*GOOD, member("manifest.json", b"{}")], "'manifest.json' in it, which is not in its manifest, or twice"),
        ([*GOOD, member("bin/a", A)], "'bin/a' in it, which is not in its manifest, or twice"),
        ([member("bin/a", A[:-1] + b"?"), *GOOD[1:]], "'bin/a' in it, whose bytes differ from its manifest"),
        ([member("bin/a", A[:-1]), *GOOD[1:]], "'bin/a' in it, which differs in kind or size"),
        ([member("bin/a", A + b"?"), *GOOD[1:]], "'bin/a' in it, which differs in kind or size"),
        (
            [*GOOD[:2], member("bin/c", kind=tarfile.SYMTYPE, link="../../../../etc")],
            "'bin/c' in it, which differs in kind or size",
        ),
        (
            [*GOOD[:2], member("bin/c", kind=tarfile.LNKTYPE, link="bin/a")],
            "'bin/c' in it, which differs in kind or size",
        ),
        ([*GOOD[:2], member("bin/c", b"a")], "'bin/c' in it, which differs in kind or size"),
        *[
            ([member("bin/a", data, kind, "b"), *GOOD[1:]], "'bin/a' in it, which differs in kind or size")
            for kind in (
                tarfile.SYMTYPE,
                tarfile.LNKTYPE,
                tarfile.DIRTYPE,
                tarfile.CHRTYPE,
                tarfile.BLKTYPE,
                tarfile.FIFOTYPE,
                tarfile.CONTTYPE,
            )
            for data in (b"", A)
        ],
    ],
)
def test_members_that_are_not_what_the_manifest_says(
    tmp_path: pathlib.Path, members: list[tuple[tarfile.TarInfo, bytes]], reason: str
) -> None:
    refused(write_archive(tmp_path / "x.tar.gz", GOOD_MANIFEST, *members), reason)


@pytest.mark.parametrize(
    "name",
    ["../a", "/tmp/a", "bin/../../a", "bin//a", "./a", "bin/.", "..", ".", "", "bin/a\0b", "manifest.json", "bin/a/x"],
)
@pytest.mark.parametrize("kind", ["files", "links"])
def test_names_that_a_manifest_may_not_have(tmp_path: pathlib.Path, name: str, kind: str) -> None:
    manifest = manifest_of(
        {"bin/a": A, **({name: B} if kind == "files" else {})}, {name: "x"} if kind == "links" else {}
    )
    listed = {"manifest.json": "a manifest that names 'manifest.json'", "bin/a/x": "a manifest that names 'bin/a'"}
    reason = listed.get(name, f"a manifest in which a name in the manifest.{kind} is '{printable(name)}', expected ")
    refused(
        write_archive(tmp_path / "x.tar.gz", manifest, member("bin/a", A), member(name.replace("\0", ""), B)), reason
    )


@pytest.mark.parametrize("target", ["../../../etc/passwd", "/etc/passwd", "x/../../..", "", ".", 7, None])
def test_links_that_lead_elsewhere(tmp_path: pathlib.Path, target: typing.Any) -> None:
    manifest = manifest_of(FILES, {"bin/c": target})
    archive = write_archive(
        tmp_path / "x.tar.gz", manifest, *GOOD[:2], member("bin/c", kind=tarfile.SYMTYPE, link=str(target))
    )
    shown = {None: "null", 7: "7"}.get(target, f"'{target}'")
    refused(archive, f"a manifest in which the manifest.links.bin/c is {shown}, expected ")


def test_files_below_a_link(tmp_path: pathlib.Path) -> None:
    manifest = manifest_of({"etc/passwd": A}, {"etc": "bin"})
    refused(
        write_archive(
            tmp_path / "x.tar.gz", manifest, member("etc", kind=tarfile.SYMTYPE, link="bin"), member("etc/passwd", A)
        ),
        "names 'etc'",
    )


def test_what_is_both_file_and_link(tmp_path: pathlib.Path) -> None:
    refused(
        write_archive(tmp_path / "x.tar.gz", manifest_of({"bin/a": A}, {"bin/a": "b"}), member("bin/a", A)),
        "names 'bin/a'",
    )


@pytest.mark.parametrize(
    ("manifest", "reason"),
    [
        ([], "a manifest in which the manifest is a list, expected an object"),
        ({}, "a manifest that does not list its files"),
        ({**GOOD_MANIFEST, "sizes": {}}, "a manifest that does not list its files"),
        ({**GOOD_MANIFEST, "links": ["bin/c"]}, "a manifest in which the manifest.links is a list"),
        (
            {**GOOD_MANIFEST, "sizes": {"bin/a": "500", "bin/b": 600}},
            "a manifest in which the manifest.sizes.bin/a is '500'",
        ),
        ({**GOOD_MANIFEST, "sizes": {"bin/a": -1, "bin/b": 600}}, "a manifest in which the manifest.sizes.bin/a is -1"),
        ({**GOOD_MANIFEST, "files": {"bin/a": 1, "bin/b": ""}}, "a manifest in which the manifest.files.bin/a is 1"),
    ],
)
def test_manifests_that_are_none(tmp_path: pathlib.Path, manifest: object, reason: str) -> None:
    refused(write_archive(tmp_path / "x.tar.gz", manifest, *GOOD), reason)


def test_no_manifest_at_the_front(tmp_path: pathlib.Path) -> None:
    archive = tmp_path / "x.tar.gz"
    with gzip.open(archive, "wb") as file, tarfile.open(fileobj=file, mode="w|") as tar:
        info, _data = member("bin/a")
        tar.addfile(info)
    refused(archive, "an archive that does not begin with manifest.json")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<html>not here</html>",
        b"\x28\xb5\x2f\xfd" + b"\0" * 100,
        b"\x1f\x8b" + b"\0" * 100,
        gzip.compress(b"no tar" * 1000, mtime=0),
        zstandard.compress(b"no tar" * 1000),
        lzma.compress(b"no tar" * 1000),
    ],
)
def test_no_archive(tmp_path: pathlib.Path, data: bytes) -> None:
    archive = tmp_path / "x.tar.gz"
    archive.write_bytes(data)
    refused(archive, "")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_archive_that_breaks_off_or_is_damaged_anywhere(tmp_path: pathlib.Path, suffix: str) -> None:
    noise = {"bin/a": os.urandom(20_000), "bin/b": os.urandom(20_000)}
    whole = write_archive(
        tmp_path / f"x{suffix}", manifest_of(noise, {}), *(member(name, data) for name, data in noise.items())
    )
    data = whole.read_bytes()
    assert unpack(whole) == ["bin", "bin/a", "bin/b"]
    shutil.rmtree(tmp_path / "outside")
    for position in range(1000, 40_000, 3000):
        whole.write_bytes(data[:position])
        refused(whole, "")
        whole.write_bytes(data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :])
        refused(whole, "")


def test_more_than_the_disk_takes(tmp_path: pathlib.Path) -> None:
    archive = write_archive(tmp_path / "x.tar.gz", {**GOOD_MANIFEST, "sizes": {"bin/a": 10**18, "bin/b": 600}}, *GOOD)
    with pytest.raises(ProblemError, match=r"^disk space: expected .+, found"):
        unpack(archive)
    assert not (tmp_path / "outside" / "releases" / "staged").exists()


def test_a_folder_that_is_in_use_stays(tmp_path: pathlib.Path) -> None:
    archive = write_archive(tmp_path / "x.tar.gz", GOOD_MANIFEST, *GOOD)
    unpack(archive)
    with pytest.raises(
        ProblemError, match=r"^packed release: expected an empty folder.*, found .*/staged, which is not empty\."
    ):
        unpack(archive)
    assert (tmp_path / "outside" / "releases" / "staged" / "bin" / "a").read_bytes() == A


def test_what_cannot_be_written(tmp_path: pathlib.Path) -> None:
    archive = write_archive(tmp_path / "x.tar.gz", GOOD_MANIFEST, *GOOD)
    (tmp_path / "outside").write_text("a file", encoding="utf-8")
    with pytest.raises(
        ProblemError, match=r"^packed release: expected .*, found .*x.tar.gz, which cannot be unpacked \("
    ):
        unpack(archive)


def test_modes_do_not_come_from_the_archive(tmp_path: pathlib.Path) -> None:
    program = member("bin/a", A)
    program[0].mode, program[0].uid = 0o6777, 12345
    old = os.umask(0o077)
    try:
        unpack(write_archive(tmp_path / "x.tar.gz", GOOD_MANIFEST, program, *GOOD[1:]))
    finally:
        os.umask(old)
    binaries = tmp_path / "outside" / "releases" / "staged" / "bin"
    assert [(path.stat().st_mode & 0o7777, path.stat().st_uid) for path in (binaries / "a", binaries / "b")] == [
        (0o755, os.geteuid()),
        (0o644, os.geteuid()),
    ]


def test_neither_way_holds_the_archive_in_memory(tmp_path: pathlib.Path) -> None:
    release = publish(tmp_path / "root", os.urandom(16 << 20))
    tracemalloc.start()
    try:
        packed, _changed = pack.pack(release, tmp_path / "packed", None, Progress(), run)
        fake_packed.unpack(packed.archive, tmp_path / "staged")
        _now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (tmp_path / "staged" / "bin" / "more").stat().st_size == 16 << 20
    assert peak < 8 << 20
