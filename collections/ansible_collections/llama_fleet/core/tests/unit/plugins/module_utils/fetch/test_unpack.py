# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import io
import os
import pathlib
import tarfile

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.unpack import unpack_tree
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError


def pack(path: pathlib.Path, *members: tuple[str, str, str]) -> None:
    """Write a tar archive; members are (name, kind, content or link target)."""
    kinds = {"link": tarfile.SYMTYPE, "hard": tarfile.LNKTYPE, "dir": tarfile.DIRTYPE, "device": tarfile.CHRTYPE}
    with tarfile.open(path, "w:gz") as tar:
        for name, kind, text in members:
            info = tarfile.TarInfo(name)
            info.mode = 0o4777 if kind == "program" else 0o600
            if kind in kinds:
                info.type, info.linkname = kinds[kind], text
                tar.addfile(info)
            else:
                info.size = len(text)
                tar.addfile(info, io.BytesIO(text.encode()))


def unpack(archive: pathlib.Path, target: pathlib.Path) -> None:
    with archive.open("rb") as file:
        unpack_tree(
            file,
            archive.name,
            target,
            lambda names: pathlib.PurePosixPath("x") if any(name.startswith("x/") for name in names) else None,
            "llama_cpp_source",
        )


def test_only_the_chosen_folder_is_unpacked(tmp_path: pathlib.Path) -> None:
    pack(
        tmp_path / "a.tar.gz",
        ("x", "dir", ""),
        ("x/sub", "dir", ""),
        ("x/sub/run.sh", "program", "#!"),
        ("./x/plain", "file", "text"),
        ("x/link", "link", "sub/run.sh"),
        ("y/other", "file", "no"),
    )
    unpack(tmp_path / "a.tar.gz", tmp_path / "out")
    unpacked = {str(path.relative_to(tmp_path / "out")): path for path in (tmp_path / "out").rglob("*")}
    assert set(unpacked) == {"sub", "sub/run.sh", "plain", "link"}
    assert (unpacked["plain"].read_text(encoding="utf-8"), unpacked["plain"].stat().st_mode & 0o7777) == ("text", 0o644)
    assert unpacked["sub/run.sh"].stat().st_mode & 0o7777 == 0o755
    assert os.readlink(unpacked["link"]) == "sub/run.sh"


EVIL = {
    "a path up and out": [("x/../../evil", "file", "")],
    "a link out": [("x/link", "link", "/etc")],
    "a link up and out": [("x/link", "link", "../../..")],
    "a file through a link": [("x/a", "link", "."), ("x/a/b", "link", ".."), ("x/b/evil", "file", "")],
    "up and back again": [("x/sub", "dir", ""), ("x/sub/../evil", "file", "")],
    # Inside the folder when the link is made, because c does not exist yet.
    "a link that leads out later": [("x/b", "link", "c/.."), ("x/c", "link", "."), ("x/b/evil", "file", "")],
    "a link that a later one turns out, and nothing more": [("x/a", "link", "b/.."), ("x/b", "link", ".")],
    "a hard link": [("x/hard", "hard", "/etc/passwd")],
    "a device": [("x/device", "device", "")],
}


@pytest.mark.parametrize("members", EVIL.values(), ids=EVIL)
def test_nothing_is_written_or_pointed_outside(tmp_path: pathlib.Path, members: list[tuple[str, str, str]]) -> None:
    folder = tmp_path / "deep" / "er"
    folder.mkdir(parents=True)
    pack(tmp_path / "a.tar.gz", ("x/ok", "file", ""), *members)
    with pytest.raises(ProblemError, match="outside the source folder"):
        unpack(tmp_path / "a.tar.gz", folder / "out")
    assert not list(tmp_path.rglob("evil"))


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "cannot be unpacked"), (b"<html>", "cannot be unpacked"), (b"\x1f\x8b\x08\x00broken", "cannot be unpacked")],
)
def test_what_is_no_archive(tmp_path: pathlib.Path, content: bytes, message: str) -> None:
    (tmp_path / "a.tar.gz").write_bytes(content)
    with pytest.raises(ProblemError, match=message):
        unpack(tmp_path / "a.tar.gz", tmp_path / "out")


def test_a_truncated_archive(tmp_path: pathlib.Path) -> None:
    pack(tmp_path / "a.tar.gz", *((f"x/{number}", "file", os.urandom(3000).hex()) for number in range(9)))
    os.truncate(tmp_path / "a.tar.gz", 9000)
    with pytest.raises(ProblemError, match="cannot be unpacked"):
        unpack(tmp_path / "a.tar.gz", tmp_path / "out")


def test_an_archive_without_the_source(tmp_path: pathlib.Path) -> None:
    pack(tmp_path / "a.tar.gz", ("y/file", "file", ""))
    with pytest.raises(ProblemError, match="holds no source"):
        unpack(tmp_path / "a.tar.gz", tmp_path / "out")


def test_a_file_is_not_written_twice_nor_through_a_link(tmp_path: pathlib.Path) -> None:
    for number, members in enumerate(
        (
            [("x/a", "file", "one"), ("x/a", "file", "two")],
            [("x/a", "file", "one"), ("x/b", "link", "a"), ("x/b", "file", "two")],
        )
    ):
        pack(tmp_path / "a.tar.gz", *members)
        with pytest.raises(ProblemError, match="which is in it twice"):
            unpack(tmp_path / "a.tar.gz", tmp_path / f"out{number}")
        assert (tmp_path / f"out{number}" / "a").read_text(encoding="utf-8") == "one"
