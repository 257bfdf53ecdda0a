# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Bring a source archive to the host, and verify that it is the requested one."""

from __future__ import annotations

import contextlib
import pathlib
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch import index as package_index
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch import verified
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.download import fetch
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.pinned import parse_package
from ansible_collections.llama_fleet.core.plugins.module_utils.host.files import sha256_of
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.source import SOURCE, Archive
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError, raise_if_any
from ansible_collections.llama_fleet.core.plugins.module_utils.progress import BYTES, Progress

_SUFFIX = ".tar.gz"
_LARGEST = 1 << 30  # bytes of a source archive of unknown size; llama.cpp's has 50 MB


def look(archive: Archive, root: pathlib.Path, index_url: str) -> tuple[package_index.IndexFile | None, list[Problem]]:
    """Return the file as the index lists it, and the problems known before the download.

    These are a missing file or release, or another SHA-256. The file is None unless the index has to be asked.
    """
    try:
        if archive.on_host:
            return None, _file_problems(pathlib.Path(archive.reference), archive.sha256)
        if archive.on_index and not kept_archive(archive, root).exists():
            listed = _find(archive, index_url)
            return listed, _sum_problems(listed.sha256, archive)
    except ProblemError as error:
        return None, list(error.problems)
    return None, []


@contextlib.contextmanager
def obtain(
    archive: Archive, root: pathlib.Path, index_url: str, progress: Progress, place: tuple[str, int] = ("", 0)
) -> typing.Iterator[typing.IO[bytes]]:
    """Yield the archive as an open file with the right SHA-256; a downloaded one is kept below ``root``.

    ``place`` is the address that the index has already told, and the size in bytes. Raises ProblemError.
    """
    path = pathlib.Path(archive.reference) if archive.on_host else kept_archive(archive, root)
    if not archive.on_host and not (path.exists() and not _file_problems(path, archive.sha256)):
        _fetch(archive, path, index_url, progress, place)
    try:
        file, digest = verified.opened(path, root / "sources")
    except OSError as error:
        raise ProblemError(_unreadable(path, error)) from error
    with file:
        raise_if_any(_wrong_sum(path, digest, archive.sha256))
        yield file


def _fetch(archive: Archive, kept: pathlib.Path, index_url: str, progress: Progress, place: tuple[str, int]) -> None:
    progress.stage(f"fetching {archive.name}")
    if archive.on_index and place[0]:
        # The index may have moved the file since the plan.
        with contextlib.suppress(ProblemError):
            _bring(archive, kept, *place, package_index.index_url(index_url), progress)
            return
    listed = _find(archive, index_url) if archive.on_index else None
    if listed:
        _bring(archive, kept, listed.url, listed.size, listed.index, progress)
    else:
        _bring(archive, kept, archive.reference, 0, "", progress)


def _bring(archive: Archive, kept: pathlib.Path, url: str, size: int, index: str, progress: Progress) -> None:
    fetch(
        url,
        kept,
        archive.sha256,
        SOURCE,
        seen=lambda count: progress.update(count, size, BYTES),
        most=size or _LARGEST,
        endpoint=index,
    )


def kept_archive(archive: Archive, root: pathlib.Path) -> pathlib.Path:
    """Return the path of the archive below ``root``: its checksum in the name identifies the content."""
    return root / "sources" / f"{archive.sha256[:16]}{_SUFFIX}"


def _find(archive: Archive, index_url: str) -> package_index.IndexFile:
    index = package_index.index_url(index_url)
    return package_index.find_file(index, parse_package(archive.reference, SOURCE), _SUFFIX, SOURCE)


def _file_problems(path: pathlib.Path, sha256: str) -> list[Problem]:
    try:
        digest = sha256_of(path)
    except OSError as error:
        return [_unreadable(path, error)]
    return _wrong_sum(path, digest, sha256)


def _unreadable(path: pathlib.Path, error: OSError) -> Problem:
    return Problem(SOURCE, f"'{path}', which cannot be read ({error.strerror})", "an archive on the host")


def _wrong_sum(path: pathlib.Path, actual: str, sha256: str) -> list[Problem]:
    if actual == sha256:
        return []
    fix = "correct the checksum, or do not trust this source"
    return [Problem(SOURCE, f"sha256 {actual} of {path}", f"sha256 {sha256}", fix)]


def _sum_problems(listed: str, archive: Archive) -> list[Problem]:
    if listed in ("", archive.sha256):
        return []
    return [
        Problem(
            SOURCE,
            f"sha256 {listed} of {archive.reference} on the package index",
            f"sha256 {archive.sha256}",
            "correct the checksum, or do not trust this source",
        )
    ]
