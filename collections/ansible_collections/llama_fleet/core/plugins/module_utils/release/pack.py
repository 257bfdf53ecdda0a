# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Releases packed into one archive each, in a folder that other hosts take them from, and unpacked again."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.host import cpus
from ansible_collections.llama_fleet.core.plugins.module_utils.host.files import (
    locked,
    require_writable,
    sha256_of,
    space_problem,
    sync_directory,
    write_json,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError, raise_if_any
from ansible_collections.llama_fleet.core.plugins.module_utils.progress import BYTES
from ansible_collections.llama_fleet.core.plugins.module_utils.release import archive as release_archive
from ansible_collections.llama_fleet.core.plugins.module_utils.release import signature as release_signature
from ansible_collections.llama_fleet.core.plugins.module_utils.release.index import (
    INDEX,
    SUFFIX,
    Entry,
    is_name,
    parse,
    render,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.release.store import (
    Manifest,
    read_manifest,
    whole_manifest,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.tools.venv import ARCHIVER
from ansible_collections.llama_fleet.core.plugins.module_utils.untrusted import printable

if typing.TYPE_CHECKING:
    import pathlib

    from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import Runner
    from ansible_collections.llama_fleet.core.plugins.module_utils.progress import Progress
    from ansible_collections.llama_fleet.core.plugins.module_utils.tools.import_or_install import Borrow

_FOLDER = "llama_cpp_pack_to"
_PACKED = "packed release"
_PACKAGE = "zstandard"
# Each takes 60 MB of memory.
_MOST_THREADS = 8


@dataclasses.dataclass(frozen=True)
class Packed:
    """A packed release: ``<build>-<fingerprint12>.tar.zst`` in its folder, with sha256 and size of that archive."""

    archive: pathlib.Path
    sha256: str
    size: int
    signed: bool


def plan_pack(release: pathlib.Path, folder: pathlib.Path, signing_key: pathlib.Path | None) -> bool:
    """Whether ``pack`` would change anything. Reads no content of the release or the archive."""
    return _present(_manifest(release), folder, signing_key) is None


def pack(
    release: pathlib.Path,
    folder: pathlib.Path,
    signing_key: pathlib.Path | None,
    packages: Borrow,
    progress: Progress,
    run: Runner,
) -> tuple[Packed, bool]:
    """Write archive, manifest and, with a key, the signature to ``folder`` and list them in its index.json.

    The second value is whether there was anything to do. The same release gives the same bytes,
    for one version of zstandard. A run that is killed leaves the folder as it was, or without this release.
    """
    manifest = _manifest(release)
    present = _present(manifest, folder, signing_key)
    if present:
        return present, False
    require_writable(folder, _FOLDER)
    try:
        with locked(folder / ".lock", lambda: progress.stage(f"waiting for another run that packs into {folder}")):
            present = _present(manifest, folder, signing_key)
            if present:
                return present, False
            with _workplace(folder / ".packing") as work:
                entry = _write(release, manifest, work, packages, progress)
                if signing_key:
                    progress.stage(f"signing {entry.name}")
                    release_signature.sign(work / entry.file, signing_key, run)
                return _publish(entry, work, folder), True
    except OSError as error:
        found = f"{folder}, where {release.name} cannot be packed ({error})"
        raise ProblemError(
            Problem(_FOLDER, found, "a folder that can be written, and a release that can be read")
        ) from error


def unpack(
    archive: typing.IO[bytes], where: str, staged: pathlib.Path, packages: Borrow, progress: Progress
) -> Manifest:
    """Unpack ``archive``, which messages call ``where``, into ``staged``, which is absent or empty; returns the
    manifest, which is not written there.

    Every file is checked against the manifest. Whatever is not in it, is there twice, leads elsewhere or
    is neither file nor link is refused; then nothing stays.
    """
    progress.stage(f"unpacking {where.rpartition('/')[2]}")
    if staged.exists() and any(staged.iterdir()):
        raise ProblemError(Problem(_PACKED, f"{staged}, which is not empty", "an empty folder to unpack into"))
    meter = _Meter(progress)

    def begin(inside: release_archive.Contents) -> None:
        raise_if_any(filter(None, [space_problem(staged, inside.size, "llama_cpp_root")]))
        meter.total = inside.size

    try:
        staged.mkdir(parents=True, exist_ok=True)
        with packages(_PACKAGE, ARCHIVER) as zstandard:
            return release_archive.extract(archive, staged, zstandard, begin, meter.add)
    except BaseException as error:
        shutil.rmtree(staged, ignore_errors=True)
        if isinstance(error, OSError):
            raise ProblemError(
                Problem(
                    _PACKED,
                    f"{where}, which cannot be unpacked ({error})",
                    "an archive and a place that can be read and written",
                )
            ) from error
        if isinstance(error, ValueError):
            fix = "do not trust it, or fetch or pack it again"
            raise ProblemError(
                Problem(_PACKED, printable(f"{where} with {error}"), "an archive as llama-fleet packs them", fix)
            ) from error
        raise


@contextlib.contextmanager
def _workplace(work: pathlib.Path) -> typing.Iterator[pathlib.Path]:
    shutil.rmtree(work, ignore_errors=True)  # of a run that was killed
    work.mkdir()
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


class _Meter:
    """Adds up for the progress of a stage."""

    def __init__(self, progress: Progress, total: int = 0) -> None:
        self.total = total
        self._progress = progress
        self._done = 0

    def add(self, count: int) -> None:
        self._done += count
        self._progress.update(self._done, self.total, BYTES)


def _manifest(release: pathlib.Path) -> Manifest:
    told = read_manifest(release) or {}
    manifest = whole_manifest(release, str(told.get("fingerprint")))
    if manifest is None or not is_name(_name(manifest)):
        raise ProblemError(
            Problem(
                "release",
                f"{release}, which is damaged or none",
                "a whole release",
                "remove that folder; it is made again",
            )
        )
    return manifest


def _name(manifest: Manifest) -> str:
    return f"{manifest.get('build')}-{str(manifest.get('fingerprint'))[:12]}"


def _present(manifest: Manifest, folder: pathlib.Path, signing_key: pathlib.Path | None) -> Packed | None:
    """The release as it lies in the folder, if it does: listed, of the right size, and signed with that key if there is
    one.

    Whoever packed it: hosts that share a folder have the same release with other bytes, and must not pack in turn.
    """
    wanted = release_signature.public_key(signing_key) if signing_key else ""
    entry = next((entry for entry in _entries(folder) or [] if entry.name == _name(manifest)), None)
    if entry is None or not _is_there(entry, folder):
        return None
    beside = read_manifest(folder, f"{entry.name}.json") or {}
    if not manifest["fingerprint"] == entry.fingerprint == beside.get("fingerprint"):
        return None
    signer = release_signature.signed_by(_signature(folder / entry.file)) if entry.signed else ""
    if (not signer and (entry.signed or signing_key)) or wanted not in ("", signer):
        return None
    return Packed(folder / entry.file, entry.sha256, entry.size, entry.signed)


def _is_there(entry: Entry, folder: pathlib.Path) -> bool:
    with contextlib.suppress(OSError):
        return (folder / entry.file).stat().st_size == entry.size
    return False


def _signature(archive: pathlib.Path) -> pathlib.Path:
    return archive.with_name(f"{archive.name}{release_signature.SUFFIX}")


def _entries(folder: pathlib.Path) -> list[Entry] | None:
    """What the folder's index lists; None where there is no index. Raises rather than lose one that it cannot read."""
    try:
        return parse((folder / INDEX).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except OSError as error:
        found = f"{folder / INDEX}, which cannot be read ({error.strerror})"
    except ValueError as error:
        found = f"{folder / INDEX} with {error}"
    raise ProblemError(
        Problem(
            _FOLDER,
            found,
            "the index of a folder of packed releases",
            f"choose another folder, or remove that {INDEX}; it is made again",
        )
    )


def _write(
    release: pathlib.Path, manifest: Manifest, work: pathlib.Path, packages: Borrow, progress: Progress
) -> Entry:
    """Archive and manifest, on the disk below ``work``."""
    name = _name(manifest)
    progress.stage(f"packing {name}")
    meter = _Meter(progress, sum(manifest["sizes"].values()))
    archive = work / f"{name}{SUFFIX}"
    try:
        with packages(_PACKAGE, ARCHIVER) as zstandard, archive.open("wb") as file:
            hashing = release_archive.HashingFile(file, archive)
            release_archive.write(
                release, manifest, hashing, zstandard, min(cpus.observe().jobs, _MOST_THREADS), meter.add
            )
    except ValueError as error:
        raise ProblemError(
            Problem("release", str(error), "a whole release", f"remove {release}; it is made again")
        ) from error
    write_json(work / f"{name}.json", manifest)
    return _entry(archive, manifest, hashing.sha256)


def _entry(archive: pathlib.Path, manifest: Manifest, sha256: str) -> Entry:
    status = archive.stat()
    parts = manifest.get("fingerprint_parts") or {}
    signed = bool(release_signature.signed_by(_signature(archive)))
    return Entry(_name(manifest), sha256, status.st_size, manifest["fingerprint"], parts, signed, int(status.st_mtime))


def _publish(entry: Entry, work: pathlib.Path, folder: pathlib.Path) -> Packed:
    """Move what lies below ``work`` to its place; what the index lists is there at every moment, just as it says."""
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
    entry = dataclasses.replace(entry, signed=bool(release_signature.signed_by(_signature(archive))))
    _write_index([*others, entry], work, folder)
    return Packed(archive, entry.sha256, entry.size, entry.signed)


def _write_index(entries: typing.Iterable[Entry], work: pathlib.Path, folder: pathlib.Path) -> None:
    write_json(work / INDEX, render(entries))
    os.replace(work / INDEX, folder / INDEX)
    sync_directory(folder)


def _move(path: pathlib.Path, target: pathlib.Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
    path.chmod(0o644)  # whatever the umask: a web server is to read it
    os.replace(path, target)


def _recovered(folder: pathlib.Path) -> list[Entry]:
    """The releases of a folder whose index is gone, by the manifests that lie beside their archives."""
    found = []
    for archive in sorted(folder.glob(f"[!.]*{SUFFIX}")):
        manifest = read_manifest(folder, f"{archive.name[: -len(SUFFIX)]}.json") or {}
        if manifest.get("fingerprint") and is_name(_name(manifest)) and archive.name == f"{_name(manifest)}{SUFFIX}":
            found.append(_entry(archive, manifest, sha256_of(archive)))
    return found
