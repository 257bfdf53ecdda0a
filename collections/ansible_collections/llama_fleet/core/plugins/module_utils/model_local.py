# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Models that lie on the host already: used where they are, hashed once."""

from __future__ import annotations

import os
import pathlib
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils import model_store
from ansible_collections.llama_fleet.core.plugins.module_utils.files import require_writable, sha256_of
from ansible_collections.llama_fleet.core.plugins.module_utils.gguf_bytes import require_gguf_file
from ansible_collections.llama_fleet.core.plugins.module_utils.model_spec import VARIABLE, PathSource, parse_shard
from ansible_collections.llama_fleet.core.plugins.module_utils.model_store import Model, StoredFile
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.progress import BYTES, Progress
from ansible_collections.llama_fleet.core.plugins.module_utils.quant import Candidate, ListedFile, choose, quant_of


def base_of(source: PathSource) -> pathlib.Path:
    """The folder the model's file names are relative to."""
    path = pathlib.Path(source.path)
    return path if path.is_dir() else path.parent


def find_local(source: PathSource, asked: str) -> Candidate:
    """The model at a path, all shards there and each a GGUF file; raises where it is not."""
    path = pathlib.Path(source.path)
    if path.is_dir():
        chosen = choose(_listing(path), asked, source.path)
    elif path.is_file():
        chosen = _file(path)
    else:
        found = f"'{source.path}', which is not on the host (or this user cannot see it)"
        raise ProblemError(Problem(VARIABLE, found, "the path of a GGUF file or of a folder with them"))
    for file in chosen.files:
        require_gguf_file(base_of(source) / file.path, VARIABLE)
    return chosen


def _file(path: pathlib.Path) -> Candidate:
    shard = parse_shard(path.name)
    if shard is None:
        return Candidate(quant_of(path.name), (ListedFile(path.name, path.stat().st_size),))
    if shard.number != 1:
        raise ProblemError(Problem(VARIABLE, f"'{path}', shard {shard.number} of a split model", f"its first shard, '{path.with_name(shard.name(1))}'"))
    absent = [name for name in shard.names if not path.with_name(name).is_file()]
    if absent:
        found = f"{shard.count - len(absent)} of {shard.count} shards in {path.parent}, without {', '.join(absent[:5])}"
        raise ProblemError(Problem(VARIABLE, found, "all of them"))
    return Candidate(quant_of(path.name), tuple(ListedFile(name, path.with_name(name).stat().st_size) for name in shard.names))


def _listing(folder: pathlib.Path) -> list[ListedFile]:
    found: list[ListedFile] = []
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        paths = [pathlib.Path(place) / name for name in names if name.lower().endswith(".gguf") and not name.startswith(".")]
        found.extend(ListedFile(path.relative_to(folder).as_posix(), path.stat().st_size) for path in paths if path.is_file())
    return found


def local_model(source: PathSource, chosen: Candidate, root: pathlib.Path, progress: Progress, read: bool = True) -> Model:
    """The model with the checksum of every file: the recorded one where the stat agrees, else computed.

    Without ``read`` an unknown checksum stays empty: a plan does not read gigabytes.
    """
    base = base_of(source)
    manifest = model_store.read_manifest(model_store.folder_of(root, source))
    known: typing.Mapping[str, StoredFile] = manifest.files if manifest else {}
    kept = {file.path: known[file.path] for file in chosen.files if file.path in known and model_store.is_intact(base, known[file.path])}
    total = sum(file.size for file in chosen.files if file.path not in kept)
    if total:
        progress.stage(f"checking {pathlib.PurePosixPath(chosen.path).name}")
    done = 0
    files = []
    for file in chosen.files:
        if file.path in kept:
            files.append(kept[file.path])
            continue
        before = done

        def seen(count: int, before: int = before) -> None:
            progress.update(min(total, before + count), total, BYTES)

        files.append(model_store.stored_file(base, file.path, sha256_of(base / file.path, seen) if read else ""))
        done += file.size
    return Model(source.path, "", chosen.quant, base, tuple(files))


def record_local(source: PathSource, asked: str, model: Model, root: pathlib.Path) -> None:
    """Keep the checksums, so that the next run reads nothing."""
    folder = model_store.folder_of(root, source)
    require_writable(folder, "gguf_model_root")
    model_store.add_model(folder, asked, model)
