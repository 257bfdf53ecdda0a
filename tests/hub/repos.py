# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Present folders as repositories of the Hub: commits, listings, checksums and access rights."""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import json
import pathlib
import typing

SETTINGS = ".hub.json"
_LFS_FROM = 1 << 20


class Access(enum.Enum):
    """The access that an account has to a repository."""

    FULL = "full"
    LISTING = "listing"  # gated: everyone may see the listing
    NONE = "none"


@dataclasses.dataclass(frozen=True)
class RepoFile:
    """A file as the Hub describes it; ``sha256`` if it is in LFS, otherwise only the git blob's ``oid``."""

    path: str
    place: pathlib.Path
    size: int
    sha256: str
    oid: str
    lfs: bool


class Repos:
    """All repositories below a folder, read for each request, so a test may change them."""

    def __init__(self, root: pathlib.Path) -> None:
        self._root = root
        self._sums: dict[tuple[str, int, int], tuple[str, str]] = {}

    def account(self, token: str) -> str:
        """Return the account name of ``token``; empty if there is none."""
        return str(_json(self._root / "accounts.json").get(token, ""))

    def find(self, repo: str) -> pathlib.Path | None:
        folder = self._root / "repos" / repo
        return folder if folder.is_dir() and ".." not in repo else None

    def access(self, repo: str, account: str) -> Access:
        settings = _json(self._root / "repos" / repo / SETTINGS)
        if account and account in settings.get("granted", []):
            return Access.FULL
        if settings.get("private"):
            return Access.NONE
        return Access.LISTING if settings.get("gated") else Access.FULL

    def is_gated(self, repo: str) -> bool:
        return bool(_json(self._root / "repos" / repo / SETTINGS).get("gated"))

    def files(self, repo: str) -> list[RepoFile]:
        folder = self._root / "repos" / repo
        paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != SETTINGS)
        return [self._describe(path, path.relative_to(folder).as_posix()) for path in paths]

    def commit(self, repo: str) -> str:
        """Return the repository's only commit, named after its content."""
        listing = "\n".join(f"{file.path} {file.sha256}" for file in self.files(repo))
        return hashlib.sha1(listing.encode(), usedforsecurity=False).hexdigest()

    def has_revision(self, repo: str, revision: str) -> bool:
        return revision in ("main", self.commit(repo))

    def by_sum(self, sha256: str) -> pathlib.Path | None:
        """Return the file with that content, if it has been listed before."""
        return next(
            (pathlib.Path(path) for (path, _size, _time), (known, _oid) in list(self._sums.items()) if known == sha256),
            None,
        )

    def _describe(self, path: pathlib.Path, name: str) -> RepoFile:
        status = path.stat()
        key = (str(path), status.st_size, status.st_mtime_ns)
        if key not in self._sums:
            self._sums[key] = _sums(path)
        sha256, oid = self._sums[key]
        return RepoFile(name, path, status.st_size, sha256, oid, name.endswith(".gguf") or status.st_size >= _LFS_FROM)


def _sums(path: pathlib.Path) -> tuple[str, str]:
    sha256 = hashlib.sha256()
    blob = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as file:
        for chunk in iter(lambda: file.read(1 << 20), b""):
            sha256.update(chunk)
            blob.update(chunk)
    return sha256.hexdigest(), blob.hexdigest()


def _json(path: pathlib.Path) -> dict[str, typing.Any]:
    return typing.cast("dict[str, typing.Any]", json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}
