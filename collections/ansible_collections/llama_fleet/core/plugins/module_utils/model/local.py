# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Use models that are already on the host where they are; hash them once."""

from __future__ import annotations

import os
import pathlib
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.bytes import require_gguf_file
from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.choice import choose, require_model
from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.companion import choose_projector, require_companion
from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.files import MODEL, Candidate, ListedFile
from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.kind import kind_reader
from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.quant import quant_of
from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.shards import parse_shard
from ansible_collections.llama_fleet.core.plugins.module_utils.host.files import require_writable
from ansible_collections.llama_fleet.core.plugins.module_utils.model import store as model_store
from ansible_collections.llama_fleet.core.plugins.module_utils.model.plan import Choose, Chosen, Read
from ansible_collections.llama_fleet.core.plugins.module_utils.model.source import VARIABLE, PathSource
from ansible_collections.llama_fleet.core.plugins.module_utils.model.store import Model, StoredFile
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.progress import BYTES, Progress


def base_of(source: PathSource) -> pathlib.Path:
    """Return the folder that the model's file names are relative to."""
    path = pathlib.Path(source.path)
    return path if path.is_dir() else path.parent


def find_local(source: PathSource, asked: str) -> Candidate:
    """Return the model at a path with a quant. Raises ProblemError if shards are missing or a file is not GGUF."""

    def choice(listing: typing.Sequence[ListedFile], where: str, reader: typing.Callable[[ListedFile], Read]) -> Chosen:
        return Chosen(choose(listing, asked, where, kind_of=kind_reader(reader, where)))

    return find_files(source, choice).model


def find_files(source: PathSource, choice: Choose, mmproj: str = "", kind: str = MODEL) -> Chosen:
    """Return the model at a path and its projector; in a folder ``choice`` chooses. Raises ProblemError.

    ``mmproj`` is the projector's label or path, or ANY. ``kind`` is that of the file at the path.
    """
    path = pathlib.Path(source.path)
    if path.is_dir():
        chosen = choice(_listing(path), source.path, lambda file: _reader(path / file.path))
    elif path.is_file():
        model = _file(path)
        kind_of, where = kind_reader(lambda file: _reader(path.parent / file.path), str(path.parent)), str(path.parent)
        if kind == MODEL:
            require_model(model, kind_of(model), where)
        else:
            require_companion(model, kind, kind_of(model), where)
        beside = choose_projector(_listing(path.parent), model, where, mmproj, kind_of) if mmproj else None
        chosen = Chosen(model, beside)
    else:
        absent = f"'{source.path}', which is not on the host (or this user cannot see it)"
        raise ProblemError(Problem(VARIABLE, absent, "the path of a GGUF file or of a folder with them"))
    for file in chosen.files:
        require_gguf_file(base_of(source) / file.path, VARIABLE)
    return chosen


def recorded_choice(model: Model) -> Chosen | None:
    """Return the choice of an earlier run if all its files still exist; a choice by memory is not repeated."""
    existing = [file for file in model.everything if (model.base / file.name).is_file()]
    if len(existing) < len(model.everything):
        return None
    listed = [ListedFile(file.name, (model.base / file.name).stat().st_size) for file in existing]
    return Chosen(
        Candidate(model.quant, tuple(listed[: len(model.files)])), listed[-1] if model.mmproj else None, model.memory
    )


def _reader(path: pathlib.Path) -> Read:
    def read(begin: int, end: int) -> bytes:
        with path.open("rb") as file:
            file.seek(begin)
            return file.read(end - begin)

    return read


def _file(path: pathlib.Path) -> Candidate:
    shard = parse_shard(path.name)
    if shard is None:
        return Candidate(quant_of(path.name), (ListedFile(path.name, path.stat().st_size),))
    if shard.number != 1:
        shards = f"'{path}', shard {shard.number} of a split model"
        raise ProblemError(Problem(VARIABLE, shards, f"its first shard, '{path.with_name(shard.name(1))}'"))
    absent = [name for name in shard.names if not path.with_name(name).is_file()]
    if absent:
        there = f"{shard.count - len(absent)} of {shard.count} shards in {path.parent}, without {', '.join(absent[:5])}"
        raise ProblemError(Problem(VARIABLE, there, "all of them"))
    return Candidate(
        quant_of(path.name), tuple(ListedFile(name, path.with_name(name).stat().st_size) for name in shard.names)
    )


def _listing(folder: pathlib.Path) -> list[ListedFile]:
    listed: list[ListedFile] = []
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        paths = [
            pathlib.Path(place) / name for name in names if name.lower().endswith(".gguf") and not name.startswith(".")
        ]
        listed.extend(
            ListedFile(path.relative_to(folder).as_posix(), path.stat().st_size) for path in paths if path.is_file()
        )
    return listed


def local_model(
    source: PathSource, chosen: Chosen, root: pathlib.Path, progress: Progress, read: bool, always: bool
) -> Model:
    """Return the model with the checksum of every file.

    A recorded checksum is used if the file's stat is unchanged, unless ``always`` is set. Without ``read`` an unknown
    checksum stays empty, because a plan does not read gigabytes.
    """
    base = base_of(source)
    manifest = model_store.read_manifest(model_store.folder_of(root, source))
    known: typing.Mapping[str, StoredFile] = manifest.files if manifest and not always else {}
    kept = {
        file.path: known[file.path]
        for file in chosen.files
        if file.path in known and model_store.is_intact(base, known[file.path])
    }
    files = _recorded(base, chosen, kept, progress, read)
    mmproj = files[-1] if chosen.mmproj else None
    return Model(
        source.path, "", chosen.model.called, base, tuple(files[: len(chosen.model.files)]), mmproj, chosen.memory
    )


def _recorded(
    base: pathlib.Path, chosen: Chosen, kept: typing.Mapping[str, StoredFile], progress: Progress, read: bool
) -> list[StoredFile]:
    """Return the records of all chosen files: the ``kept`` ones, and new ones of the others."""
    total = sum(file.size for file in chosen.files if file.path not in kept)
    if total:
        progress.stage(f"checking {pathlib.PurePosixPath(chosen.model.path).name}")
    done = 0
    files = []
    for file in chosen.files:
        if file.path in kept:
            files.append(kept[file.path])
            continue

        def seen(count: int, before: int = done) -> None:
            progress.update(min(total, before + count), total, BYTES)

        files.append(
            model_store.hashed_file(base, file.path, seen) if read else model_store.stored_file(base, file.path, "")
        )
        done += file.size
    return files


def record_local(source: PathSource, asked: str, model: Model, root: pathlib.Path) -> None:
    """Record the checksums, so that the next run reads no file."""
    folder = model_store.folder_of(root, source)
    require_writable(folder, "gguf_model_root")
    model_store.add_model(folder, asked, model)
