# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Takes models off the host, never one that a generation of an instance refers to."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.host.files import locked, require_writable
from ansible_collections.llama_fleet.core.plugins.module_utils.model import store as model_store
from ansible_collections.llama_fleet.core.plugins.module_utils.model.request import FIT
from ansible_collections.llama_fleet.core.plugins.module_utils.model.source import HubSource, PathSource, WheelSource
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.release.usage import first_use, uses

if typing.TYPE_CHECKING:
    import pathlib

    from ansible_collections.llama_fleet.core.plugins.module_utils.model.request import Request

_ROOT = "gguf_model_root"
_INSTANCES = "gguf_model_instances"


@dataclasses.dataclass(frozen=True)
class Doomed:
    """What ``absent`` would remove of one folder: single files, or with ``whole`` all of it, or only what a
    download left.
    """

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
    """What is there of the request's model; raises where an instance refers to any of it."""
    found = _found(request)
    if found:
        used = uses(request.instances, _INSTANCES)
        for path in [found.folder] if found.whole else found.paths:
            use = first_use(path, used)
            if use:
                fix = (
                    f"remove instance '{use.instance}' first, or run it with another model until that generation "
                    f"is gone"
                )
                raise ProblemError(
                    Problem(
                        "gguf_model_state",
                        f"absent, and {use} refers to {use.path}",
                        "a model that no generation refers to",
                        fix,
                    )
                )
    return found


def _found(request: Request) -> Doomed:
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
    """Whether what was asked for once is what is asked for now; a choice by memory, with whatever numbers it was
    made.
    """
    return request.asked in ("", asked, quant) or (request.fit is not None and asked.startswith(f"{FIT} ("))


def _revisions(place: pathlib.Path) -> list[pathlib.Path]:
    return (
        [path for path in place.iterdir() if path.is_dir() and not path.name.startswith(".")] if place.is_dir() else []
    )


def remove(request: Request, waiting: typing.Callable[[], None]) -> None:
    """Remove what ``doomed`` finds, and the folders that are empty then."""
    folder = _found(request).folder
    with _locked(request, folder, waiting):
        found = doomed(request)
        if found.whole:
            _remove_folder(request, found.folder)
        else:
            for path in found.paths:
                path.unlink(missing_ok=True)
                _remove_empty(path.parent, found.folder)
            model_store.remove_choices(found.folder, found.choices)
        _tidy(request, found.folder)


def surplus(request: Request, folder: pathlib.Path) -> list[pathlib.Path]:
    """The revisions beyond those to be kept: not ``folder``, not the newest used, none that a generation refers to."""
    if not request.keep or not isinstance(request.source, (HubSource, WheelSource)):
        return []
    # Whatever else somebody put there is not ours to remove.
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
    """Remove the surplus; returns what went."""
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
    """Make this the newest used revision, if it is not: the time of a manifest is that of its last use."""
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
    """The manifest goes last, so that a run that is cut off can be done again."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != "manifest.json":
            path.unlink()
    shutil.rmtree(folder)
    if isinstance(request.source, HubSource):
        model_store.forget_commit(request.root, request.source.repo, folder.name)


def _remove_empty(folder: pathlib.Path, top: pathlib.Path) -> None:
    """Empty folders from ``folder`` up to, not including, ``top``."""
    while folder != top and top in folder.parents:
        try:
            folder.rmdir()
        except OSError:
            return
        folder = folder.parent


def _tidy(request: Request, folder: pathlib.Path) -> None:
    """Without a revision left, unfinished bytes and the folders above are of no use either."""
    if not folder.parent.is_dir():
        return
    if not _revisions(folder.parent):
        shutil.rmtree(model_store.parts_folder(folder), ignore_errors=True)
    _remove_empty(folder.parent, model_store.models_folder(request.root))
