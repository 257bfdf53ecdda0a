# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Store models below a root, with records that let a second run do without network and bulk reads.

``models/<owner>/<repo>/<commit>/``, ``models/pypi/<project>/<version>/`` and ``models/url/<host>/<key>/`` hold the
files under their own names and a ``manifest.json``. ``models/local/<key>/`` holds only the manifest of files that are
used where they are. ``models/<owner>/<repo>/revisions.json`` records the commit that a branch or tag named when it was
first requested. Unverified bytes are kept next to the revisions in ``.parts``, named by their checksum, so that every
revision can resume with them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
import typing
import urllib.parse

from ansible_collections.llama_fleet.core.plugins.module_utils.host.files import read_json, sha256_of_open, write_json
from ansible_collections.llama_fleet.core.plugins.module_utils.model.source import (
    HubSource,
    PathSource,
    Source,
    UrlSource,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.untrusted import (
    COMMIT,
    SHA256,
    Many,
    Number,
    Plain,
    Record,
    Table,
    Text,
    Word,
)

if typing.TYPE_CHECKING:
    import pathlib

_COMMIT = re.compile(r"[0-9a-f]{40}")
_FORMAT = 1
_LONGEST = 16 << 20  # bytes of a manifest
_REVISIONS = Table(Table(Text(COMMIT), keys=Word()), keys=Word())
_NAME = Word(4096)  # the user may have given a local file any name
_FILE = Record(
    {
        "size": Number(),
        "sha256": Text(f"(?:{SHA256})?"),
        "mtime_ns": Number(-(1 << 63)),
        "inode": Number(most=(1 << 64) - 1),
    }
)
_MANIFEST = Record(
    {
        "format": Number(),
        "source": Word(),
        "revision": Text(f"(?:{COMMIT})?|[A-Za-z0-9.!+_-]{{1,200}}"),
        "choices": Table(
            Record({"quant": Word(200), "files": Many(_NAME)}, {"mmproj": _NAME, "memory": Record(others=Plain())}),
            keys=Word(),
        ),
        "files": Table(_FILE, keys=_NAME),
    }
)


@dataclasses.dataclass(frozen=True)
class StoredFile:
    """A verified file and its stat at that time; while the stat is unchanged, the file is not read again."""

    name: str
    size: int
    sha256: str
    mtime_ns: int
    inode: int


@dataclasses.dataclass(frozen=True)
class Choice:
    """The files chosen for a requested quant, or for none. ``memory`` explains a choice by memory."""

    quant: str
    files: tuple[str, ...]
    mmproj: str = ""
    memory: typing.Mapping[str, typing.Any] = dataclasses.field(default_factory=dict)

    @property
    def everything(self) -> tuple[str, ...]:
        return (*self.files, self.mmproj) if self.mmproj else self.files


@dataclasses.dataclass(frozen=True)
class Manifest:
    """The content of a folder of the store."""

    source: str
    revision: str
    choices: typing.Mapping[str, Choice]
    files: typing.Mapping[str, StoredFile]


@dataclasses.dataclass(frozen=True)
class Model:
    """A model on this host: its files in order, and its projector if one was requested, below ``base``."""

    source: str
    revision: str
    quant: str
    base: pathlib.Path
    files: tuple[StoredFile, ...]
    mmproj: StoredFile | None = None
    memory: typing.Mapping[str, typing.Any] = dataclasses.field(default_factory=dict)

    @property
    def everything(self) -> tuple[StoredFile, ...]:
        return (*self.files, self.mmproj) if self.mmproj else self.files

    @property
    def path(self) -> pathlib.Path:
        return self.base / self.files[0].name

    @property
    def size(self) -> int:
        return sum(file.size for file in self.everything)


def models_folder(root: pathlib.Path) -> pathlib.Path:
    return root / "models"


def parts_folder(folder: pathlib.Path) -> pathlib.Path:
    """Return the folder of unverified bytes of a revision and its siblings, on the same file system as theirs."""
    return folder.parent / ".parts"


def lock_of(root: pathlib.Path, folder: pathlib.Path) -> pathlib.Path:
    """Return the lock of all revisions of a source, kept elsewhere because the folder itself may be removed."""
    return root / "locks" / f"models-{_key(str(folder.parent.relative_to(root)))}.lock"


def repo_folder(root: pathlib.Path, repo: str) -> pathlib.Path:
    return models_folder(root) / repo


def folder_of(root: pathlib.Path, source: Source, commit: str = "") -> pathlib.Path:
    """Return the store's folder for a source; ``commit`` is needed for a repository on the Hub."""
    if isinstance(source, HubSource):
        return repo_folder(root, source.repo) / commit
    if isinstance(source, UrlSource):
        host = urllib.parse.urlsplit(source.url).hostname or "host"
        return models_folder(root) / "url" / re.sub(r"[^A-Za-z0-9.-]", "_", host) / _key(str(source))
    if isinstance(source, PathSource):
        return models_folder(root) / "local" / _key(source.path)
    return models_folder(root) / "pypi" / source.project.lower() / source.version


def _key(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def is_commit(revision: str) -> bool:
    return _COMMIT.fullmatch(revision) is not None


def recall_commit(root: pathlib.Path, repo: str, endpoint: str, revision: str) -> str:
    """Return the commit that ``revision`` is, or was recorded as; empty if unknown."""
    if is_commit(revision):
        return revision
    return str(_revisions(root, repo).get(endpoint, {}).get(revision, ""))


def _revisions(root: pathlib.Path, repo: str) -> dict[str, dict[str, str]]:
    """Return the recorded commits by endpoint and name."""
    return read_json(repo_folder(root, repo) / "revisions.json", _REVISIONS) or {}


def remember_commit(root: pathlib.Path, repo: str, endpoint: str, revision: str, commit: str) -> None:
    """Record the commit of ``revision``, so that it stays the same on this host until another one is requested."""
    if is_commit(revision) or recall_commit(root, repo, endpoint, revision) == commit:
        return
    path = repo_folder(root, repo) / "revisions.json"
    recorded = _revisions(root, repo)
    known = recorded.get(endpoint)
    recorded[endpoint] = {**(known if isinstance(known, dict) else {}), revision: commit}
    write_json(path, recorded)


def forget_commit(root: pathlib.Path, repo: str, commit: str) -> None:
    """Forget every name of a commit that was removed."""
    path = repo_folder(root, repo) / "revisions.json"
    kept = {
        endpoint: {name: other for name, other in names.items() if other != commit}
        for endpoint, names in _revisions(root, repo).items()
    }
    if any(kept.values()):
        write_json(path, {endpoint: names for endpoint, names in kept.items() if names})
    else:
        path.unlink(missing_ok=True)


def read_manifest(folder: pathlib.Path) -> Manifest | None:
    """Return the manifest of ``folder``, or None if there is no valid one."""
    value = read_json(folder / "manifest.json", _MANIFEST, _LONGEST)
    if value is None or value["format"] != _FORMAT:
        return None
    choices = {
        asked: Choice(**{**choice, "files": tuple(choice["files"])}) for asked, choice in value["choices"].items()
    }
    files = {name: StoredFile(name=name, **file) for name, file in value["files"].items()}
    return Manifest(value["source"], value["revision"], choices, files)


def write_manifest(folder: pathlib.Path, manifest: Manifest) -> None:
    files = {
        name: {"size": f.size, "sha256": f.sha256, "mtime_ns": f.mtime_ns, "inode": f.inode}
        for name, f in manifest.files.items()
    }
    choices = {
        asked: {name: value for name, value in dataclasses.asdict(choice).items() if value or name == "quant"}
        for asked, choice in manifest.choices.items()
    }
    record = {"format": _FORMAT, "source": manifest.source, "revision": manifest.revision}
    write_json(folder / "manifest.json", {**record, "choices": choices, "files": files})


def add_model(folder: pathlib.Path, asked: str, model: Model) -> None:
    """Record in the manifest of ``folder`` that ``asked`` means ``model``."""
    known = read_manifest(folder)
    same = known is not None and (known.source, known.revision) == (model.source, model.revision)
    choices = dict(known.choices) if known and same else {}
    files = dict(known.files) if known and same else {}
    names = tuple(file.name for file in model.files)
    old = choices.get(asked)
    # A run that wants no projector keeps the one that an earlier run wanted.
    mmproj = model.mmproj.name if model.mmproj else (old.mmproj if old and old.files == names else "")
    choices[asked] = Choice(model.quant, names, mmproj, model.memory)
    files.update({file.name: file for file in model.everything})
    write_manifest(folder, Manifest(model.source, model.revision, choices, files))


def remove_choices(folder: pathlib.Path, gone: typing.Collection[str]) -> None:
    """Remove choices from the manifest, and every file that no other choice uses."""
    known = read_manifest(folder)
    if known is None or not gone:
        return
    choices = {asked: choice for asked, choice in known.choices.items() if asked not in gone}
    named = {name for choice in choices.values() for name in choice.everything}
    files = {name: file for name, file in known.files.items() if name in named}
    write_manifest(folder, dataclasses.replace(known, choices=choices, files=files))


def stored_file(base: pathlib.Path, name: str, sha256: str) -> StoredFile:
    """Return the record of a file that was just verified to have ``sha256``."""
    status = os.stat(base / name)
    return StoredFile(name, status.st_size, sha256, status.st_mtime_ns, status.st_ino)


def hashed_file(base: pathlib.Path, name: str, seen: typing.Callable[[int], None]) -> StoredFile:
    """Hash a file through one descriptor; its stat is taken first, so that a later change shows in it."""
    with (base / name).open("rb") as file:
        status = os.fstat(file.fileno())
        return StoredFile(name, status.st_size, sha256_of_open(file, seen), status.st_mtime_ns, status.st_ino)


def is_intact(base: pathlib.Path, file: StoredFile) -> bool:
    """Return whether the stat of a file is unchanged since it was verified."""
    try:
        status = os.stat(base / file.name)
    except OSError:
        return False
    return (status.st_size, status.st_mtime_ns, status.st_ino) == (file.size, file.mtime_ns, file.inode)


def recorded_model(
    folder: pathlib.Path, base: pathlib.Path, source: str, asked: str, mmproj: bool = False
) -> Model | None:
    """Return the model that ``asked`` was recorded as; its files may have changed since. None if there is none."""
    manifest = read_manifest(folder)
    if manifest is None or manifest.source != source or asked not in manifest.choices:
        return None
    choice = manifest.choices[asked]
    incomplete = not choice.files or any(name not in manifest.files for name in choice.everything)
    if incomplete or (mmproj and not choice.mmproj):
        return None
    files = tuple(manifest.files[name] for name in choice.files)
    projector = manifest.files[choice.mmproj] if mmproj else None
    return Model(manifest.source, manifest.revision, choice.quant, base, files, projector, choice.memory)
