# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""A source archive brought to the host, and found to be the one that was asked for."""

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
_LARGEST = 1 << 30  # bytes of a source archive whose size no index tells: llama.cpp's has 50 MB


def problems(archive: Archive, root: pathlib.Path, index_url: str) -> list[Problem]:
    """What can be known to be wrong before anything is fetched: no such file or release, another sha256."""
    try:
        if archive.on_host:
            return _file_problems(pathlib.Path(archive.reference), archive.sha256)
        if archive.on_index and not kept_archive(archive, root).exists():
            return _sum_problems(_find(archive, index_url).sha256, archive)
    except ProblemError as error:
        return list(error.problems)
    return []


@contextlib.contextmanager
def obtain(
    archive: Archive, root: pathlib.Path, index_url: str, progress: Progress
) -> typing.Iterator[typing.IO[bytes]]:
    """Have the archive as an open file whose bytes have its sha256; one that was fetched is kept below ``root``."""
    path = pathlib.Path(archive.reference) if archive.on_host else kept_archive(archive, root)
    if not archive.on_host and not (path.exists() and not _file_problems(path, archive.sha256)):
        _fetch(archive, path, index_url, progress)
    try:
        file, found = verified.opened(path, root / "sources")
    except OSError as error:
        raise ProblemError(_unreadable(path, error)) from error
    with file:
        raise_if_any(_wrong_sum(path, found, archive.sha256))
        yield file


def _fetch(archive: Archive, kept: pathlib.Path, index_url: str, progress: Progress) -> None:
    progress.stage(f"fetching {archive.name}")
    found = _find(archive, index_url) if archive.on_index else None
    size = found.size if found else 0
    url, index = (found.url, found.index) if found else (archive.reference, "")
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
    """A name with the checksum in it: what lies there is what was asked for, whatever the reference."""
    return root / "sources" / f"{archive.sha256[:16]}{_SUFFIX}"


def _find(archive: Archive, index_url: str) -> package_index.IndexFile:
    index = package_index.index_url(index_url)
    return package_index.find_file(index, parse_package(archive.reference, SOURCE), _SUFFIX, SOURCE)


def _file_problems(path: pathlib.Path, sha256: str) -> list[Problem]:
    try:
        found = sha256_of(path)
    except OSError as error:
        return [_unreadable(path, error)]
    return _wrong_sum(path, found, sha256)


def _unreadable(path: pathlib.Path, error: OSError) -> Problem:
    return Problem(SOURCE, f"'{path}', which cannot be read ({error.strerror})", "an archive on the host")


def _wrong_sum(path: pathlib.Path, found: str, sha256: str) -> list[Problem]:
    if found == sha256:
        return []
    return [
        Problem(SOURCE, f"sha256 {found} of {path}", f"sha256 {sha256}", "correct the sum, or do not trust this source")
    ]


def _sum_problems(found: str, archive: Archive) -> list[Problem]:
    if found in ("", archive.sha256):
        return []
    return [
        Problem(
            SOURCE,
            f"sha256 {found} of {archive.reference} on the package index",
            f"sha256 {archive.sha256}",
            "correct the sum, or do not trust this source",
        )
    ]
