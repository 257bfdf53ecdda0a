# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Remove models from the host, except those that a generation of an instance refers to."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.host.files import locked, require_writable
from ansible_collections.llama_fleet.core.plugins.module_utils.model import store as model_store
from ansible_collections.llama_fleet.core.plugins.module_utils.model.request import FIT
from ansible_collections.llama_fleet.core.plugins.module_utils.model.source import (
    HubSource,
    PathSource,
    WheelSource,
    asked_alone,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.release.usage import first_use, uses

if typing.TYPE_CHECKING:
    import pathlib

    from ansible_collections.llama_fleet.core.plugins.module_utils.model.request import Request

_ROOT = "gguf_model_root"
_INSTANCES = "gguf_model_instances"


@dataclasses.dataclass(frozen=True)
class Doomed:
    """The content that ``absent`` removes: single files, the whole ``folder``, or only the parts of a download."""

    folder: pathlib.Path
    files: tuple[str, ...]
    choices: tuple[str, ...]
    whole: bool
    parts: bool = False

    @property
    def paths(self) -> tuple[pathlib.Path, ...]:
        return tuple(self.folder / name for name in self.files)

    def __bool__(self) -> bool:
        return self.whole or self.parts or bool(self.choices)


def doomed(request: Request) -> Doomed:
    """Return what exists of the request's model. Raises ProblemError if an instance refers to any of it."""
    existing = _existing(request)
    if existing:
        used = uses(request.instances, _INSTANCES)
        for path in [existing.folder] if existing.whole else existing.paths:
            use = first_use(path, used)
            if use:
                in_use = f"absent, and {use} refers to {use.path}"
                fix = (
                    f"remove instance '{use.instance}' first, or run it with another model until that generation "
                    f"is gone"
                )
                raise ProblemError(Problem("gguf_model_state", in_use, "a model that no generation refers to", fix))
    return existing


def _existing(request: Request) -> Doomed:
    source = request.source
    commit = (
        model_store.recall_commit(request.root, source.repo, request.endpoint, request.revision)
        if isinstance(source, HubSource)
        else ""
    )
    folder = model_store.folder_of(request.root, source, commit or "unknown")
    manifest = model_store.read_manifest(folder)
    choices = dict(manifest.choices) if manifest else {}
    matching = tuple(asked for asked, choice in choices.items() if _means(request, asked, choice.quant))
    whole = folder.is_dir() and len(matching) == len(choices) and (request.wants_all or bool(choices))
    if whole:
        inside = [
            path.relative_to(folder).as_posix()
            for path in folder.rglob("*")
            if not path.is_dir() and path != folder / "manifest.json"
        ]
        return Doomed(folder, tuple(sorted(inside)), matching, whole=True)
    kept = {name for asked, choice in choices.items() if asked not in matching for name in choice.everything}
    names = {name for asked in matching for name in choices[asked].everything}
    parts = (
        request.wants_all
        and not isinstance(source, PathSource)
        and model_store.parts_folder(folder).is_dir()
        and not _revisions(folder.parent)
    )
    return Doomed(folder, tuple(sorted(names - kept)), matching, whole=False, parts=parts)


def _means(request: Request, asked: str, quant: str) -> bool:
    """Return whether a recorded choice is the one requested now; a choice by memory matches with any numbers."""
    alone = asked_alone(asked)
    return asked_alone(request.asked) in ("", alone, quant) or (
        request.fit is not None and asked.startswith(f"{FIT} (")
    )


def _revisions(place: pathlib.Path) -> list[pathlib.Path]:
    return (
        [path for path in place.iterdir() if path.is_dir() and not path.name.startswith(".")] if place.is_dir() else []
    )


def remove(request: Request, waiting: typing.Callable[[], None]) -> None:
    """Remove what ``doomed`` returns, and the folders that this empties. Raises ProblemError."""
    folder = _existing(request).folder
    with _locked(request, folder, waiting):
        removable = doomed(request)
        if removable.whole:
            _remove_folder(request, removable.folder)
        else:
            for path in removable.paths:
                path.unlink(missing_ok=True)
                _remove_empty(path.parent, removable.folder)
            model_store.remove_choices(removable.folder, removable.choices)
        _tidy(request, removable.folder)


def surplus(request: Request, folder: pathlib.Path) -> list[pathlib.Path]:
    """List the revisions beyond those to keep, except ``folder``, the most recently used, and those in use."""
    if not request.keep or not isinstance(request.source, (HubSource, WheelSource)):
        return []
    # Anything else in there was put there by someone else.
    others = [path for path in _revisions(folder.parent) if path != folder and _is_revision(request, path)]
    beyond = sorted(others, key=_last_use, reverse=True)[request.keep - 1 :]
    used = uses(request.instances, _INSTANCES) if beyond else []
    return [path for path in beyond if first_use(path, used) is None]


def _is_revision(request: Request, path: pathlib.Path) -> bool:
    return (
        model_store.is_commit(path.name)
        if isinstance(request.source, HubSource)
        else (path / "manifest.json").is_file()
    )


def prune(request: Request, folder: pathlib.Path, waiting: typing.Callable[[], None]) -> list[pathlib.Path]:
    """Remove the surplus; return the removed folders."""
    with _locked(request, folder, waiting):
        removed = surplus(request, folder)
        for path in removed:
            _remove_folder(request, path)
    return removed


@contextlib.contextmanager
def _locked(request: Request, folder: pathlib.Path, waiting: typing.Callable[[], None]) -> typing.Iterator[None]:
    lock = model_store.lock_of(request.root, folder)
    require_writable(folder.parent, _ROOT)
    require_writable(lock.parent, _ROOT)
    with locked(lock, waiting):
        yield


def mark_used(folder: pathlib.Path) -> None:
    """Mark this as the most recently used revision: the mtime of a manifest is the time of its last use."""
    others = [path for path in _revisions(folder.parent) if path != folder]
    if others and _last_use(folder) <= max(_last_use(path) for path in others):
        with contextlib.suppress(OSError):
            os.utime(folder / "manifest.json")


def _last_use(folder: pathlib.Path) -> int:
    try:
        return (folder / "manifest.json").stat().st_mtime_ns
    except OSError:
        return 0


def _remove_folder(request: Request, folder: pathlib.Path) -> None:
    """Remove a revision, its manifest last, so that an interrupted removal can be repeated."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != "manifest.json":
            path.unlink()
    shutil.rmtree(folder)
    if isinstance(request.source, HubSource):
        model_store.forget_commit(request.root, request.source.repo, folder.name)


def _remove_empty(folder: pathlib.Path, top: pathlib.Path) -> None:
    """Remove empty folders from ``folder`` upwards to, but not including, ``top``."""
    while folder != top and top in folder.parents:
        try:
            folder.rmdir()
        except OSError:
            return
        folder = folder.parent


def _tidy(request: Request, folder: pathlib.Path) -> None:
    """Remove unfinished bytes and empty parent folders if no revision is left."""
    if not folder.parent.is_dir():
        return
    if not _revisions(folder.parent):
        shutil.rmtree(model_store.parts_folder(folder), ignore_errors=True)
    _remove_empty(folder.parent, model_store.models_folder(request.root))
