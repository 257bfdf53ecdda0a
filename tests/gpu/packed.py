# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Let a packed release travel without the toolkit's libraries (600 MB) and add the host's libraries afterwards."""

from __future__ import annotations

import fnmatch
import shutil
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.host.files import sha256_of
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp import compile as llama_cpp_build
from ansible_collections.llama_fleet.core.plugins.module_utils.release import archive as release_archive
from ansible_collections.llama_fleet.core.plugins.module_utils.release import index as release_index
from ansible_collections.llama_fleet.core.plugins.module_utils.release import store as release_store

if typing.TYPE_CHECKING:
    import pathlib

# Libraries of CUDA's toolkit; everything else in a release is small.
OF_THE_TOOLKIT = ("bin/libcudart.so*", "bin/libcublas.so*", "bin/libcublasLt.so*", "bin/libnvrtc*.so*")


def reduce(
    archive: pathlib.Path, folder: pathlib.Path, lend: release_archive.Lend | None
) -> tuple[pathlib.Path, str, list[str]]:
    """Copy a packed release without the toolkit's libraries; return its path, its sha256 and the omitted names."""
    target, work = folder / archive.name, folder / f".{archive.name}.work"
    shutil.rmtree(work, ignore_errors=True)
    try:
        manifest = _extract(archive, work, lend)
        left_out = [
            name
            for name in sorted({*manifest["files"], *manifest["links"]})
            if any(fnmatch.fnmatch(name, one) for one in OF_THE_TOOLKIT)
        ]
        if left_out:
            for name in left_out:
                (work / name).unlink()
            target = target.with_name(_renewed(archive))
            _write(work, {**manifest, **release_store.describe(work)}, target)
        else:
            shutil.copyfile(archive, target)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return target, sha256_of(target), left_out


def complete(
    archive: pathlib.Path, toolkit: pathlib.Path, folder: pathlib.Path, lend: release_archive.Lend | None
) -> pathlib.Path:
    """Write the release with the libraries of the host's toolkit beside its programs; return the archive's path."""
    target, work = folder / _renewed(archive), folder / f".{archive.name}.work"
    shutil.rmtree(work, ignore_errors=True)
    try:
        manifest = _extract(archive, work, lend)
        major = str(manifest["fingerprint_parts"]["cuda_toolkit"]).partition(".")[0]
        llama_cpp_build.copy_toolkit_libraries(toolkit, major, work / "bin", "cuda_toolkit_path")
        _write(work, {**manifest, **release_store.describe(work)}, target)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return target


def _renewed(archive: pathlib.Path) -> str:
    """Return the name of the archive when it is packed again, which may change its format."""
    return f"{release_index.without_suffix(archive.name)}{release_index.SUFFIX}"


def _extract(archive: pathlib.Path, work: pathlib.Path, lend: release_archive.Lend | None) -> release_store.Manifest:
    work.mkdir(parents=True)
    with archive.open("rb") as file:
        return release_archive.extract(file, work, lambda _inside: None, lambda _count: None, lend)


def _write(work: pathlib.Path, manifest: release_store.Manifest, target: pathlib.Path) -> None:
    new = target.with_name(f".{target.name}.new")
    with new.open("wb") as file:
        release_archive.write(work, manifest, release_archive.HashingFile(file, new), lambda _count: None)
    new.rename(target)
