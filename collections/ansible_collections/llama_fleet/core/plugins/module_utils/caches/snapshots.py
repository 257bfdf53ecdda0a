# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Read a repository out of the cache of the Hub's client without a network: its commit, its files and their sums."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
import posixpath
import re
import stat
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.caches.lookup import opened, opened_folder, repo_folder
from ansible_collections.llama_fleet.core.plugins.module_utils.caches.places import HUB, Place
from ansible_collections.llama_fleet.core.plugins.module_utils.untrusted import (
    COMMIT,
    SHA256,
    Inside,
    ShapeError,
    check,
)

_MOST_ENTRIES = 20_000
_MOST_COMMITS = 50
_DEEPEST = 8  # folders of a snapshot
_TARGET = re.compile(rf"(?:\.\./)+blobs/({SHA256})")


@dataclasses.dataclass(frozen=True)
class CachedFile:
    """A file of a snapshot whose blob exists. ``sha256`` is the blob's name, and not verified; ``size`` is in bytes."""

    path: str
    size: int
    sha256: str


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """A commit of a repository in a cache, with its GGUF files."""

    place: Place
    repo: str
    commit: str
    files: tuple[CachedFile, ...]

    def read(self, file: CachedFile, begin: int, end: int) -> bytes:
        """Return the bytes of a file from ``begin`` up to ``end``. Raises OSError."""
        with os.fdopen(opened(self.place.folder, f"{repo_folder(self.repo)}/blobs/{file.sha256}"), "rb") as blob:
            blob.seek(begin)
            return blob.read(end - begin)


def snapshot(places: typing.Iterable[Place], repo: str, revision: str) -> Snapshot | None:
    """Return the commit that ``revision`` names in the first cache that has GGUF files of it, or None.

    A cache that was copied may lack the name, and ``main`` may have moved to a commit of which only small files were
    fetched. Then ``main`` is the only commit that has any.

    A cache's sums are its own word. So a part of it counts only if it belongs to root, this user or the owner of the
    cache's folder.
    """
    for place in places:
        if place.layout == HUB:
            named = _named(place, repo, revision)
            held = [named] if named else _all(place, repo) if revision == "main" else []
            if len(held) == 1:
                return held[0]
    return None


def _named(place: Place, repo: str, revision: str) -> Snapshot | None:
    with contextlib.suppress(OSError):
        commit = _commit(place, repo, revision)
        return _snapshot(place, repo, commit) if commit else None
    return None


def _all(place: Place, repo: str) -> list[Snapshot]:
    """List the commits of a repository in a cache that have GGUF files."""
    names: list[str] = []
    with contextlib.suppress(OSError):
        folder = opened_folder(place.folder, f"{repo_folder(repo)}/snapshots")
        try:
            _require_owner(place, os.fstat(folder))
            with os.scandir(folder) as entries:
                names = [entry.name for entry in itertools.islice(entries, _MOST_COMMITS)]
        finally:
            os.close(folder)
    held = (_snapshot(place, repo, name) for name in sorted(names) if re.fullmatch(COMMIT, name))
    return [each for each in held if each]


def _snapshot(place: Place, repo: str, commit: str) -> Snapshot | None:
    with contextlib.suppress(OSError):
        files = tuple(_files(place, repo, commit))
        return Snapshot(place, repo, commit, files) if files else None
    return None


def _commit(place: Place, repo: str, revision: str) -> str:
    """Return the commit that a branch, tag or commit names, or an empty string. Raises OSError."""
    if re.fullmatch(COMMIT, revision):
        return revision
    try:
        name = check(revision, Inside(), "the revision")
    except ShapeError:
        return ""
    with os.fdopen(opened(place.folder, f"{repo_folder(repo)}/refs/{name}"), "rb") as file:
        _require_owner(place, os.fstat(file.fileno()))
        text = file.read(64).decode("ascii", "replace").strip()
    return text if re.fullmatch(COMMIT, text) else ""


def _files(place: Place, repo: str, commit: str) -> typing.Iterator[CachedFile]:
    """Yield the GGUF files of a snapshot. Raises OSError."""
    blobs = opened_folder(place.folder, f"{repo_folder(repo)}/blobs")
    try:
        _require_owner(place, os.fstat(blobs))
        top = opened_folder(place.folder, f"{repo_folder(repo)}/snapshots/{commit}")
        try:
            for path, folder in itertools.islice(_entries(place, top, "", _DEEPEST), _MOST_ENTRIES):
                file = _file(place, path, folder, blobs)
                if file:
                    yield file
        finally:
            os.close(top)
    finally:
        os.close(blobs)


def _entries(place: Place, folder: int, path: str, depth: int) -> typing.Iterator[tuple[str, int]]:
    """Yield the path of everything below an open folder, with the descriptor of its parent. Raises OSError."""
    _require_owner(place, os.fstat(folder))
    with os.scandir(folder) as entries:
        listed = sorted(itertools.islice(entries, _MOST_ENTRIES), key=lambda entry: entry.name)
    for entry in listed:
        inner = posixpath.join(path, entry.name)
        yield inner, folder
        if depth and entry.is_dir(follow_symlinks=False):
            descriptor = os.open(entry.name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
            try:
                yield from _entries(place, descriptor, inner, depth - 1)
            finally:
                os.close(descriptor)


def _file(place: Place, path: str, folder: int, blobs: int) -> CachedFile | None:
    """Return the file that ``path`` links to, or None if it is not a link to a blob with a sha256.

    ``folder`` is the descriptor of its parent.
    """
    if not path.lower().endswith(".gguf"):
        return None
    try:
        check(path, Inside(), "the name")
        target = _TARGET.fullmatch(os.readlink(posixpath.basename(path), dir_fd=folder))
        if target is None:
            return None
        status = os.stat(target[1], dir_fd=blobs, follow_symlinks=False)
        _require_owner(place, status)
    except (OSError, ShapeError):
        return None
    return CachedFile(path, status.st_size, target[1]) if stat.S_ISREG(status.st_mode) else None


def _require_owner(place: Place, status: os.stat_result) -> None:
    """Raise PermissionError for a part of a cache that a third user may have put there."""
    if status.st_uid not in (0, os.geteuid(), os.stat(place.folder).st_uid):
        raise PermissionError(place.folder)
