# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import errno
import hashlib
import multiprocessing
import os
import pathlib
import stat
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.host import files
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.untrusted import Number, Plain, Record
from ansible_collections.llama_fleet.core.tests.unit import waiting


def test_a_write_sets_content_and_mode_and_leaves_nothing_beside(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "deep" / "secret"
    files.write_atomic(path, "one", 0o400)
    files.write_atomic(path, "two", 0o400)
    assert path.read_text() == "two"
    assert path.stat().st_mode & 0o777 == 0o400
    assert os.listdir(path.parent) == ["secret"]


def test_a_failed_write_keeps_the_old_file(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    files.write_atomic(path, "old")

    def full(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        files.write_atomic(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_link_is_swapped_in_one_step(tmp_path: pathlib.Path) -> None:
    link = tmp_path / "current"
    files.link_atomic(link, "generations/1")
    files.link_atomic(link, "generations/2")
    assert os.readlink(link) == "generations/2"
    assert os.listdir(tmp_path) == ["current"]


def test_nobody_can_prepare_the_place_of_a_write(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    victim, path = tmp_path / "victim", tmp_path / "file"
    victim.write_text("precious")
    opened: list[str] = []
    opening = os.open

    def watched(name: str, *arguments: int, **more: int) -> int:
        opened.append(os.path.basename(name))
        return opening(name, *arguments, **more)

    monkeypatch.setattr(os, "open", watched)
    for _time in range(2):
        files.write_atomic(path, "x")
    names = [name for name in opened if name.endswith(".new")]
    assert len({*names}) == 2, "temporary names are never reused"
    monkeypatch.setattr(files.secrets, "token_hex", lambda _count: "guessed")
    (tmp_path / ".file.guessed.new").symlink_to(victim)
    with pytest.raises(FileExistsError):
        files.write_atomic(path, "y")
    assert (victim.read_text(), path.read_text()) == ("precious", "x")


def test_sha256_and_the_bytes_read(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * (files.CHUNK + 5))
    seen: list[int] = []
    assert files.sha256_of(path, seen.append) == hashlib.sha256(b"x" * (files.CHUNK + 5)).hexdigest()
    assert seen == [files.CHUNK, files.CHUNK + 5]


@pytest.mark.parametrize(
    "text", [None, "", "{", "[1]", '{"a": "x"}', '{"a": 1, "long": "12345678901234567890"}', "[" * 100_000]
)
def test_what_has_not_the_shape_is_none(tmp_path: pathlib.Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "m.json").write_text(text)
    assert (
        files.read_json(tmp_path / "m.json", Record({"a": Number()}), 40 if text and "long" not in text else 39) is None
    )


def test_json_that_has_the_shape(tmp_path: pathlib.Path) -> None:
    (tmp_path / "m.json").write_text('{"a": 1, "b": 2}')
    assert files.read_json(tmp_path / "m.json", Record({"a": Number()}), 16) == {"a": 1}


def test_a_pipe_in_place_of_json_is_not_waited_for(tmp_path: pathlib.Path) -> None:
    os.mkfifo(tmp_path / "m.json")
    assert files.read_json(tmp_path / "m.json", Plain()) is None


def _hold_until_somebody_waits(path: pathlib.Path) -> None:
    with files.locked(path):
        (path.parent / "held").touch()
        waiting.until((path.parent / "waiting").exists)
        (path.parent / "released").touch()


def test_a_second_run_waits_for_the_first(tmp_path: pathlib.Path) -> None:
    process = multiprocessing.get_context("fork").Process(target=_hold_until_somebody_waits, args=(tmp_path / "lock",))
    process.start()
    waiting.until((tmp_path / "held").exists)
    waited: list[bool] = []

    def wait() -> None:
        waited.append(True)
        (tmp_path / "waiting").touch()

    with files.locked(tmp_path / "lock", waiting=wait):
        assert (tmp_path / "released").exists()
    process.join()
    assert waited == [True]


def test_a_run_that_waits_can_do_something_meanwhile(tmp_path: pathlib.Path) -> None:
    process = multiprocessing.get_context("fork").Process(target=_hold_until_somebody_waits, args=(tmp_path / "lock",))
    process.start()
    waiting.until((tmp_path / "held").exists)
    said: list[str] = []

    def meanwhile() -> None:
        said.append("meanwhile")
        if len(said) == 3:
            (tmp_path / "waiting").touch()

    with files.locked(tmp_path / "lock", lambda: said.append("waiting"), meanwhile):
        assert (tmp_path / "released").exists()
    process.join()
    assert said[:3] == ["waiting", "meanwhile", "meanwhile"]


def test_too_little_space_names_the_variable(tmp_path: pathlib.Path) -> None:
    problem = files.space_problem(tmp_path / "not" / "there", 1 << 62, "llama_cpp_root")
    assert problem is not None
    assert problem.subject == "disk space"
    assert "llama_cpp_root" in problem.fix
    assert files.space_problem(tmp_path, 1, "llama_cpp_root") is None


def test_a_folder_that_cannot_be_written_is_a_problem(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_arguments: False)
    with pytest.raises(ProblemError, match=r"gguf_model_root: expected .*, found .* cannot write"):
        files.require_writable(tmp_path / "x", "gguf_model_root")


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_the_mode_is_the_one_asked_for_whatever_the_umask(tmp_path: pathlib.Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        files.write_atomic(tmp_path / "file", "text", 0o640)
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640


def test_the_bytes_are_safe_before_the_name_and_then_the_name(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    fsync, replace = os.fsync, os.replace

    def synced(descriptor: int) -> None:
        done.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    def replaced(source: pathlib.Path, target: pathlib.Path) -> None:
        done.append("name")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", replaced)
    files.write_atomic(tmp_path / "file", "text")
    files.link_atomic(tmp_path / "link", "file")
    assert done == ["file", "name", "folder", "name", "folder"]


def test_a_link_points_somewhere_at_every_moment(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files.link_atomic(tmp_path / "link", "old")

    def fails(*_paths: object) -> None:
        raise OSError(errno.ENOSPC, "no space left")

    for name in ("replace", "rename"):
        monkeypatch.setattr(os, name, fails)
    with pytest.raises(OSError, match="no space left"):
        files.link_atomic(tmp_path / "link", "new")
    assert {path.name: os.readlink(path) for path in tmp_path.iterdir()} == {"link": "old"}


def test_what_is_held_is_filled_and_renamed_on_a_disk_that_takes_nothing_more(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, link = tmp_path / "new" / "record", tmp_path / "link"
    opened = os.open

    def full(name: typing.Any, flags: int, *arguments: typing.Any) -> int:
        if flags & os.O_CREAT:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(name))
        return opened(name, flags, *arguments)

    with files.reserved([(path, 100), (path, 100)], [(link, "a"), (link, "b")]):
        monkeypatch.setattr(os, "open", full)
        monkeypatch.setattr(pathlib.Path, "symlink_to", lambda *_arguments: pytest.fail("a link is made"))
        for text, target in (("longer than the next", "a"), ("short", "b")):
            files.write_atomic(path, text, 0o640)
            files.link_atomic(link, target)
            assert (path.read_text(encoding="utf-8"), path.stat().st_mode & 0o777, os.readlink(link)) == (
                text,
                0o640,
                target,
            )
        with pytest.raises(OSError, match="No space left on device"):
            files.write_atomic(path, "a third time")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["link", "new", "record"]


def test_what_was_held_in_vain_goes_and_so_does_all_where_one_cannot_be_held(tmp_path: pathlib.Path) -> None:
    with files.reserved([(tmp_path / "record", 5000)], [(tmp_path / "link", "a")]):
        (room,) = tmp_path.glob(".record.*.new")
        assert room.stat().st_blocks * 512 >= 5000, "blocks are allocated, not only a length"
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    with (
        pytest.raises(OSError, match="File exists"),
        files.reserved([(tmp_path / "record", 1), (tmp_path / "file" / "x", 1)]),
    ):
        pytest.fail("it begins")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    files.write_atomic(tmp_path / "record", "as ever")
    assert (tmp_path / "record").read_text(encoding="utf-8") == "as ever"
