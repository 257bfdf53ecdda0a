# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Carries a plan out: fetches what is missing, verifies it, and only then gives it its name."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.host.disk import disk_problems
from ansible_collections.llama_fleet.core.plugins.module_utils.host.files import (
    existing_parent,
    locked,
    require_writable,
    space_problem,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.model import parts as model_parts
from ansible_collections.llama_fleet.core.plugins.module_utils.model import reuse as model_reuse
from ansible_collections.llama_fleet.core.plugins.module_utils.model import store as model_store
from ansible_collections.llama_fleet.core.plugins.module_utils.model import transfer as model_transfer
from ansible_collections.llama_fleet.core.plugins.module_utils.model.store import Model, StoredFile, parts_folder
from ansible_collections.llama_fleet.core.plugins.module_utils.model.wheel import unpack
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError, raise_if_any

if typing.TYPE_CHECKING:
    import pathlib

    from ansible_collections.llama_fleet.core.plugins.module_utils.model.plan import Plan, RemoteFile
    from ansible_collections.llama_fleet.core.plugins.module_utils.model.request import Request
    from ansible_collections.llama_fleet.core.plugins.module_utils.model.verify import Checker
    from ansible_collections.llama_fleet.core.plugins.module_utils.progress import Progress

ROOT_VARIABLE = "gguf_model_root"
_MARGIN = 64 << 20  # for manifests and whatever else the host writes meanwhile


@dataclasses.dataclass(frozen=True)
class Gap:
    """What a plan's folder lacks: files that another revision holds, by name, and files to be fetched."""

    linked: typing.Mapping[str, pathlib.Path]
    fetched: tuple[RemoteFile, ...]

    def __bool__(self) -> bool:
        return bool(self.linked or self.fetched)


def stored(plan: Plan, checker: Checker) -> dict[str, StoredFile]:
    """Those of the plan's files that are there already, each verified before or now."""
    if plan.archive:
        return {}
    manifest = model_store.read_manifest(plan.folder)
    known = manifest.files if manifest else {}
    found = {
        file.name: checker.right(plan.folder, file.name, file.size, file.sha256, known.get(file.name))
        for file in plan.remote
    }
    return {name: file for name, file in found.items() if file}


def gap(plan: Plan, checker: Checker) -> Gap:
    """What is missing of ``plan``, and where it could come from."""
    there = stored(plan, checker)
    missing = [file for file in plan.remote if file.name not in there]
    linked = {} if plan.archive else model_reuse.reusable(plan.folder, missing, checker)
    return Gap(linked, tuple(file for file in missing if file.name not in linked))


def require_possible(plan: Plan, missing: Gap, request: Request) -> None:
    """Raise where the root cannot be written or has no room, or where nobody may be asked for what is missing."""
    if not missing:
        return
    if missing.fetched and request.offline and not request.mirrors:
        names = ", ".join(file.name for file in missing.fetched[:5])
        found = f"true, but {len(missing.fetched)} of {len(plan.remote)} files are not in {plan.folder}: {names}"
        raise ProblemError(
            Problem(
                "gguf_model_offline",
                found,
                "all of them there",
                "name a mirror in gguf_model_mirrors, or carry the files there",
            )
        )
    _require_writable(plan, request)
    _require_room(plan, missing.fetched)


def _require_writable(plan: Plan, request: Request) -> None:
    require_writable(plan.folder, ROOT_VARIABLE)
    require_writable(model_store.lock_of(request.root, plan.folder).parent, ROOT_VARIABLE)


def _require_room(plan: Plan, files: typing.Sequence[RemoteFile]) -> None:
    if not files:
        return
    size = sum(file.size for file in files)
    # A GGUF file hardly shrinks in a wheel, so what comes out is as large as what goes in.
    needed = size * (2 if plan.archive else 1) - sum(
        model_parts.taken(parts_folder(plan.folder) / file.sha256) for file in files
    )
    problem = space_problem(plan.folder, max(0, needed) + _MARGIN, ROOT_VARIABLE)
    raise_if_any([problem] if problem else [])


@dataclasses.dataclass(frozen=True)
class Provided:
    """A model that is there now, the bytes that came over the network for it, and what the user should know."""

    model: Model
    downloaded: int
    warnings: tuple[str, ...]


def provide(plan: Plan, request: Request, checker: Checker, progress: Progress) -> Provided:
    """Make the plan true. A second run waits for the first and then finds its work done."""
    _require_writable(plan, request)
    lock = model_store.lock_of(request.root, plan.folder)
    with (
        disk_problems(plan.folder),
        locked(lock, lambda: progress.stage("waiting for another run that works on this model")),
    ):
        missing = gap(plan, checker)
        require_possible(plan, missing, request)
        for name, source in missing.linked.items():
            _take(plan, next(file for file in plan.remote if file.name == name), source, checker)
        transfer = model_transfer.Transfer(plan, request, checker, progress)
        downloaded = transfer.run(missing.fetched)
        if plan.archive:
            model = unpack(plan, progress)
        else:
            for file in missing.fetched:
                _place(plan, file, checker)
            model = model_of(plan, stored(plan, checker))
        model_store.add_model(plan.folder, plan.asked, model)
        with contextlib.suppress(OSError):  # not empty: parts of another quant, for a later run
            parts_folder(plan.folder).rmdir()
    return Provided(model, downloaded, tuple(transfer.warnings))


def _take(plan: Plan, file: RemoteFile, source: pathlib.Path, checker: Checker) -> None:
    part = parts_folder(plan.folder) / file.sha256
    if not model_reuse.take(source, part) and not checker.right(part.parent, part.name, file.size, file.sha256):
        raise ProblemError(
            Problem(
                ROOT_VARIABLE,
                f"other bytes in the copy of {source} than in the file",
                "a disk that keeps what is written",
            )
        )
    _place(plan, file, checker)


def _place(plan: Plan, file: RemoteFile, checker: Checker) -> None:
    model_parts.place(parts_folder(plan.folder) / file.sha256, plan.folder / file.name)
    checker.trust(plan.folder, file.name, file.sha256)


def model_of(plan: Plan, there: typing.Mapping[str, StoredFile]) -> Model:
    """The model of a plan whose files are all there."""
    files = [there[file.name] for file in plan.remote]
    mmproj = files[-1] if plan.mmproj else None
    return Model(
        plan.source, plan.revision, plan.quant, plan.folder, tuple(files[: len(plan.files)]), mmproj, plan.memory
    )


def is_writable(request: Request, folder: pathlib.Path) -> bool:
    """Whether this user could change ``folder``, and lock it before."""
    return all(
        os.access(existing_parent(place), os.W_OK | os.X_OK)
        for place in (folder, model_store.lock_of(request.root, folder).parent)
    )
