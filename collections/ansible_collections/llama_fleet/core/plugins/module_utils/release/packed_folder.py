# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Keep packed releases in a folder: its index, archives, manifests and signatures."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.host.files import sha256_of, sync_directory, write_json
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.release import signature
from ansible_collections.llama_fleet.core.plugins.module_utils.release.index import (
    INDEX,
    SUFFIXES,
    Entry,
    is_name,
    parse,
    render,
    without_suffix,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.release.store import Manifest, read_manifest

if typing.TYPE_CHECKING:
    import pathlib

VARIABLE = "llama_cpp_pack_to"


@dataclasses.dataclass(frozen=True)
class Packed:
    """A packed release in its folder.

    ``archive`` is ``<build>-<fingerprint12>.tar.gz``, or ``.tar.zst`` if an earlier version packed it; ``sha256`` and
    ``size`` (bytes) are those of the archive.
    """

    archive: pathlib.Path
    sha256: str
    size: int
    signed: bool


def name_of(manifest: Manifest) -> str:
    """Return the name of a packed release, which is that of its folder among the releases."""
    return f"{manifest.get('build')}-{str(manifest.get('fingerprint'))[:12]}"


def find(manifest: Manifest, folder: pathlib.Path, signing_key: pathlib.Path | None) -> Packed | None:
    """Return the release in the folder if it is listed, has the right size and, with a key, is signed by it.

    A release packed by another host counts too: hosts that share a folder have the same release with different bytes,
    and must not replace each other's.
    """
    wanted = signature.public_key(signing_key) if signing_key else ""
    entry = next((entry for entry in _entries(folder) or [] if entry.name == name_of(manifest)), None)
    if entry is None or not _is_there(entry, folder):
        return None
    beside = read_manifest(folder, f"{entry.name}.json") or {}
    if not manifest["fingerprint"] == entry.fingerprint == beside.get("fingerprint"):
        return None
    signer = signature.signed_by(_signature(folder / entry.file)) if entry.signed else ""
    if (not signer and (entry.signed or signing_key)) or wanted not in ("", signer):
        return None
    return Packed(folder / entry.file, entry.sha256, entry.size, entry.signed)


def publish(entry: Entry, work: pathlib.Path, folder: pathlib.Path) -> Packed:
    """Move the files below ``work`` into the folder. At every moment, the files that the index lists exist."""
    listed = _entries(folder)
    others = [
        other
        for other in (_recovered(folder) if listed is None else listed)
        if other.name != entry.name and _is_there(other, folder)
    ]
    same = any(other.name == entry.name and other.sha256 == entry.sha256 for other in listed or [])
    archive, files = folder / entry.file, [entry.file, f"{entry.name}.json"]
    if _signature(work / entry.file).exists():
        files.append(_signature(archive).name)
    elif not same:
        _signature(archive).unlink(missing_ok=True)
    if listed is not None and not same:
        _write_index(others, work, folder)
    for name in files:
        _move(work / name, folder / name)
    sync_directory(folder)
    entry = dataclasses.replace(entry, signed=bool(signature.signed_by(_signature(archive))))
    _write_index([*others, entry], work, folder)
    return Packed(archive, entry.sha256, entry.size, entry.signed)


def _is_there(entry: Entry, folder: pathlib.Path) -> bool:
    with contextlib.suppress(OSError):
        return (folder / entry.file).stat().st_size == entry.size
    return False


def _signature(archive: pathlib.Path) -> pathlib.Path:
    return archive.with_name(f"{archive.name}{signature.SUFFIX}")


def _entries(folder: pathlib.Path) -> list[Entry] | None:
    """Return the entries of the folder's index, or None without an index.

    Raises ProblemError instead of losing an index that it cannot read.
    """
    try:
        return parse((folder / INDEX).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except OSError as error:
        unreadable = f"{folder / INDEX}, which cannot be read ({error.strerror})"
    except ValueError as error:
        unreadable = f"{folder / INDEX} with {error}"
    wanted, fix = "the index of a folder of packed releases", f"choose another folder, or remove that {INDEX}"
    raise ProblemError(Problem(VARIABLE, unreadable, wanted, fix))


def entry_of(archive: pathlib.Path, manifest: Manifest, sha256: str) -> Entry:
    """Return the index entry of a packed release."""
    status = archive.stat()
    parts = manifest.get("fingerprint_parts") or {}
    signed = bool(signature.signed_by(_signature(archive)))
    name, packed = name_of(manifest), int(status.st_mtime)
    return Entry(
        name, sha256, status.st_size, manifest["fingerprint"], parts, signed, packed, archive.name[len(name) :]
    )


def _write_index(entries: typing.Iterable[Entry], work: pathlib.Path, folder: pathlib.Path) -> None:
    write_json(work / INDEX, render(entries))
    os.replace(work / INDEX, folder / INDEX)
    sync_directory(folder)


def _move(path: pathlib.Path, target: pathlib.Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
    path.chmod(0o644)  # regardless of the umask, so that a web server can read it
    os.replace(path, target)


def _recovered(folder: pathlib.Path) -> list[Entry]:
    """Return the releases of a folder without an index, by the manifests beside their archives.

    If a release has an archive of each kind, its entry is that of the first of SUFFIXES.
    """
    entries: dict[str, Entry] = {}
    for archive in (path for suffix in SUFFIXES for path in sorted(folder.glob(f"[!.]*{suffix}"))):
        name = without_suffix(archive.name)
        manifest = read_manifest(folder, f"{name}.json") or {}
        if name not in entries and manifest.get("fingerprint") and is_name(name) and name == name_of(manifest):
            entries[name] = entry_of(archive, manifest, sha256_of(archive))
    return list(entries.values())
