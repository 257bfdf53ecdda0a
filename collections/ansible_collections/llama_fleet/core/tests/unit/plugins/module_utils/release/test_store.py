# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import os
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.release import store

if typing.TYPE_CHECKING:
    import pathlib

DIGEST = "ab" * 32


def make(root: pathlib.Path, build: str = "b1", **manifest: typing.Any) -> pathlib.Path:
    """Publish a small release below ``root``."""
    path = store.release_path(root, build, manifest.get("fingerprint", DIGEST))
    staged = store.staging(path)
    (staged / "bin").mkdir(parents=True)
    (staged / "bin" / "server").write_text("program", encoding="utf-8")
    (staged / "bin" / "lib.so").symlink_to("lib.so.1")
    store.publish(staged, path, {"fingerprint": DIGEST, "build": build, **manifest, **store.describe(staged)})
    return path


def test_a_release_is_whole(tmp_path: pathlib.Path) -> None:
    path = make(tmp_path)
    assert path == tmp_path / "releases" / "b1-abababababab"
    manifest = store.whole_manifest(path, DIGEST)
    assert manifest is not None
    assert (list(manifest["files"]), manifest["sizes"], manifest["links"]) == (
        ["bin/server"],
        {"bin/server": 7},
        {"bin/lib.so": "lib.so.1"},
    )
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def grow(path: pathlib.Path) -> None:
    (path / "bin" / "server").write_text("programme", encoding="utf-8")


def turn(path: pathlib.Path) -> None:
    (path / "bin" / "lib.so").unlink()
    (path / "bin" / "lib.so").symlink_to("lib.so.2")


def spoil(path: pathlib.Path) -> None:
    (path / "manifest.json").write_text("{", encoding="utf-8")


@pytest.mark.parametrize(
    "damage",
    [
        grow,
        turn,
        spoil,
        lambda path: (path / "bin" / "server").unlink(),
        lambda path: (path / "bin" / "lib.so").unlink(),
        lambda path: (path / "manifest.json").unlink(),
    ],
)
def test_a_damaged_release_does_not_count(
    tmp_path: pathlib.Path, damage: typing.Callable[[pathlib.Path], None]
) -> None:
    path = make(tmp_path)
    damage(path)
    assert store.whole_manifest(path, DIGEST) is None


def test_another_fingerprint_does_not_count(tmp_path: pathlib.Path) -> None:
    assert store.whole_manifest(make(tmp_path), "cd" * 32) is None


def test_a_damaged_release_is_replaced(tmp_path: pathlib.Path) -> None:
    path = make(tmp_path)
    grow(path)
    make(tmp_path)
    assert (path / "bin" / "server").read_text(encoding="utf-8") == "program"
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_releases_are_found_by_their_parts_and_age(tmp_path: pathlib.Path) -> None:
    assert store.newest_manifest(tmp_path) is None
    old = make(tmp_path, "b1", fingerprint="11" * 32, fingerprint_parts={"source": "x", "compiler": "12"})
    new = make(tmp_path, "b2", fingerprint="22" * 32, fingerprint_parts={"source": "x", "compiler": "13"})
    os.utime(old / "manifest.json", (1, 1))
    newest = store.newest_manifest(tmp_path)
    assert newest is not None
    assert newest["build"] == "b2"
    release = store.find_release(tmp_path, {"source": "x"})
    assert release is not None
    assert release[0] == new
    grow(new)
    release = store.find_release(tmp_path, {"source": "x"})
    assert release is not None
    assert release[0] == old
    assert store.find_release(tmp_path, {"source": "y"}) is None


def test_only_programs_and_libraries_are_copied(tmp_path: pathlib.Path) -> None:
    source = tmp_path / "build"
    (source / "CMakeFiles").mkdir(parents=True)
    for name, mode in (("llama-server", 0o755), ("libggml.so.0.1", 0o644), ("notes.txt", 0o644)):
        (source / name).touch()
        (source / name).chmod(mode)
    (source / "libggml.so").symlink_to("libggml.so.0.1")
    store.copy_programs(source, tmp_path / "bin")
    assert {path.name for path in (tmp_path / "bin").iterdir()} == {"llama-server", "libggml.so.0.1", "libggml.so"}
    assert os.readlink(tmp_path / "bin" / "libggml.so") == "libggml.so.0.1"


def test_leftovers_of_one_release_go_and_others_stay(tmp_path: pathlib.Path) -> None:
    mine = [
        tmp_path / "releases" / ".new-b1-x",
        tmp_path / "releases" / ".new-b1-x-old",
        tmp_path / "builds" / "b1-x.work-abc",
    ]
    others = [
        tmp_path / "releases" / ".new-b2-x",
        tmp_path / "builds" / "b2-x.work-abc",
        tmp_path / "releases" / "b1-x",
    ]
    for path in (*mine, *others):
        path.mkdir(parents=True)
    store.clear_leftovers(tmp_path, "b1-x")
    assert [path.exists() for path in mine] == [False] * 3
    assert [path.exists() for path in others] == [True] * 3


@pytest.mark.parametrize("kind", ["link", "hard link", "fifo"])
def test_what_compilers_left_in_place_of_a_program_is_not_followed(tmp_path: pathlib.Path, kind: str) -> None:
    secret, made = tmp_path / "secret", tmp_path / "made"
    secret.write_text("precious", encoding="ascii")
    secret.chmod(0o700)
    made.mkdir()
    make: dict[str, typing.Callable[[pathlib.Path], object]] = {
        "link": lambda path: path.symlink_to(secret),
        "hard link": lambda path: os.link(secret, path),
        "fifo": os.mkfifo,
    }
    make[kind](made / "llama-server")
    with pytest.raises(OSError):
        store.copy_regular(made / "llama-server", tmp_path / "copy")
    assert not (tmp_path / "copy").exists()
    if kind == "link":
        store.copy_programs(made, tmp_path / "programs")
        assert list((tmp_path / "programs").iterdir()) == []
