# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Find what a plan lacks, and reuse what is on the host: files of another revision, and caches of other tools.

A new revision then only costs what changed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.caches.take import costs_nothing
from ansible_collections.llama_fleet.core.plugins.module_utils.host.files import (
    existing_parent,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.model import store as model_store
from ansible_collections.llama_fleet.core.plugins.module_utils.model.store import StoredFile, parts_folder

if typing.TYPE_CHECKING:
    import pathlib

    from ansible_collections.llama_fleet.core.plugins.module_utils.caches.lookup import Copy
    from ansible_collections.llama_fleet.core.plugins.module_utils.model.plan import ModelPlan, RemoteFile
    from ansible_collections.llama_fleet.core.plugins.module_utils.model.request import Request
    from ansible_collections.llama_fleet.core.plugins.module_utils.model.verify import Checker

import shutil
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.caches.lookup import Caches, Sought
from ansible_collections.llama_fleet.core.plugins.module_utils.caches.places import places
from ansible_collections.llama_fleet.core.plugins.module_utils.caches.snapshots import snapshot
from ansible_collections.llama_fleet.core.plugins.module_utils.model.hub import HubFile
from ansible_collections.llama_fleet.core.plugins.module_utils.model.source import HubSource

if typing.TYPE_CHECKING:
    import pathlib

    from ansible_collections.llama_fleet.core.plugins.module_utils.caches.lookup import Copy
    from ansible_collections.llama_fleet.core.plugins.module_utils.caches.snapshots import Snapshot
    from ansible_collections.llama_fleet.core.plugins.module_utils.model.plan import ModelPlan, Read, RemoteFile
    from ansible_collections.llama_fleet.core.plugins.module_utils.model.request import Request
    from ansible_collections.llama_fleet.core.plugins.module_utils.model.verify import Checker


def reusable(folder: pathlib.Path, wanted: typing.Iterable[RemoteFile], checker: Checker) -> dict[str, pathlib.Path]:
    """Find intact copies of the wanted files, under any name, in ``folder`` and its siblings; by the wanted name."""
    needed = {file.sha256: file for file in wanted if file.size}
    copies: dict[str, pathlib.Path] = {}
    for place in _folders(folder.parent) if needed else ():
        manifest = model_store.read_manifest(place)
        for record in manifest.files.values() if manifest else ():
            file = needed.get(record.sha256)
            if file and file.name not in copies and checker.right(place, record.name, file.size, file.sha256, record):
                copies[file.name] = place / record.name
    return copies


def take(source: pathlib.Path, part: pathlib.Path) -> bool:
    """Link or copy ``source`` to ``part``.

    Return whether it was linked: then its mtime and inode are the same and it needs no second verification.
    """
    part.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        part.unlink()
    try:
        os.link(source, part)
    except OSError:  # the file system has no links, or the file belongs to another user
        shutil.copyfile(source, part)
        return False
    return True


def _folders(place: pathlib.Path) -> list[pathlib.Path]:
    try:
        return sorted(path for path in place.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError:
        return []


def cached(plan: ModelPlan, missing: typing.Iterable[RemoteFile], request: Request) -> dict[str, Copy]:
    """Find files of other tools' caches that may be the missing ones, by the missing name. None is verified."""
    if not request.reuse or plan.archive:
        return {}
    caches = Caches(places(os.environ))
    repo, revision = (request.source.repo, plan.revision) if isinstance(request.source, HubSource) else ("", "")
    copies = {
        file.name: caches.find(Sought(file.name, file.size, file.sha256, repo, revision))
        for file in (missing if caches.places else ())
    }
    return {name: copy for name, copy in copies.items() if copy}


class CachedHub:
    """The Hub as the cache of its client knows it. It has the methods of ``hub.Hub`` that a plan needs."""

    def __init__(self, held: Snapshot) -> None:
        self._held = held
        self._files = {file.path: file for file in held.files}

    @property
    def folder(self) -> str:
        return self._held.place.folder

    def commit(self, _repo: str, _revision: str) -> str:
        return self._held.commit

    def tree(self, _repo: str, _commit: str) -> list[HubFile]:
        return [HubFile(file.path, file.size, file.sha256) for file in self._held.files]

    def stated(self, _repo: str, _commit: str, path: str) -> HubFile:
        return HubFile(path, self._files[path].size, self._files[path].sha256)

    def url(self, _repo: str, _commit: str, _path: str) -> str:
        """Return no URL, because this repository is not asked for over the network."""
        return ""

    def reader(self, _repo: str, _commit: str, path: str) -> Read:
        return lambda begin, end: self._held.read(self._files[path], begin, end)


def cached_hub(request: Request) -> CachedHub | None:
    """Return the repository at the wanted revision as a cache of the Hub's client has it, or None."""
    if not request.reuse or not isinstance(request.source, HubSource):
        return None
    held = snapshot(places(os.environ), request.source.repo, request.revision)
    return CachedHub(held) if held else None


@dataclasses.dataclass(frozen=True)
class Gap:
    """The missing files of a plan: those to link from another revision or to take from another tool, and to fetch.

    The first two are by name. ``free`` are the names of those that will take no disk space, because they can be linked.
    """

    linked: typing.Mapping[str, pathlib.Path]
    copied: typing.Mapping[str, Copy]
    fetched: tuple[RemoteFile, ...]
    free: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.linked or self.copied or self.fetched)


def stored(plan: ModelPlan, checker: Checker) -> dict[str, StoredFile]:
    """Return the plan's files that exist and are verified, by name."""
    if plan.archive:
        return {}
    manifest = model_store.read_manifest(plan.folder)
    known = manifest.files if manifest else {}
    verified = {
        file.name: checker.right(plan.folder, file.name, file.size, file.sha256, known.get(file.name))
        for file in plan.remote
    }
    return {name: file for name, file in verified.items() if file}


def gap(plan: ModelPlan, request: Request, checker: Checker) -> Gap:
    """Return what ``plan`` lacks and where it could come from."""
    existing = stored(plan, checker)
    missing = [file for file in plan.remote if file.name not in existing]
    linked = {} if plan.archive else reusable(plan.folder, missing, checker)
    missing = [file for file in missing if file.name not in linked]
    copied = cached(plan, missing, request)
    place = existing_parent(parts_folder(plan.folder))
    free = frozenset(name for name, copy in copied.items() if costs_nothing(copy, place))
    return Gap(linked, copied, tuple(file for file in missing if file.name not in copied), free)
