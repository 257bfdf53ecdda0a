# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Pack releases into archives in a folder that other hosts read, and unpack them.

A host needs a package outside the standard library only to unpack an archive compressed with zstd.
"""

from __future__ import annotations

import contextlib
import shutil
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.host.files import (
    locked,
    require_writable,
    space_problem,
    write_json,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.plain_text import printable
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError, raise_if_any
from ansible_collections.llama_fleet.core.plugins.module_utils.progress import BYTES
from ansible_collections.llama_fleet.core.plugins.module_utils.release import archive as release_archive
from ansible_collections.llama_fleet.core.plugins.module_utils.release import packed_folder, signature
from ansible_collections.llama_fleet.core.plugins.module_utils.release.index import (
    SUFFIX,
    Entry,
    is_name,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.release.store import (
    Manifest,
    read_manifest,
    whole_manifest,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.tools.venv import ARCHIVER

if typing.TYPE_CHECKING:
    import pathlib

    from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import Runner
    from ansible_collections.llama_fleet.core.plugins.module_utils.progress import Progress
    from ansible_collections.llama_fleet.core.plugins.module_utils.tools.import_or_install import Borrow

_PACKED = "packed release"
_PACKAGE = "zstandard"


def plan_pack(release: pathlib.Path, folder: pathlib.Path, signing_key: pathlib.Path | None) -> bool:
    """Return whether ``pack`` would change anything. Reads no content of the release or the archive."""
    return packed_folder.find(_manifest(release), folder, signing_key) is None


def pack(
    release: pathlib.Path,
    folder: pathlib.Path,
    signing_key: pathlib.Path | None,
    progress: Progress,
    run: Runner,
) -> tuple[packed_folder.Packed, bool]:
    """Write the archive, its manifest and, with a key, its signature to ``folder``, and list them in index.json.

    The second result is whether anything changed. The same release gives the same bytes for one version of zlib. A
    killed run leaves the folder unchanged, or without this release. Raises ProblemError.
    """
    manifest = _manifest(release)
    present = packed_folder.find(manifest, folder, signing_key)
    if present:
        return present, False
    require_writable(folder, packed_folder.VARIABLE)
    try:
        with locked(folder / ".lock", lambda: progress.stage(f"waiting for another run that packs into {folder}")):
            present = packed_folder.find(manifest, folder, signing_key)
            if present:
                return present, False
            with _workplace(folder / ".packing") as work:
                entry = _write(release, manifest, work, progress)
                if signing_key:
                    progress.stage(f"signing {entry.name}")
                    signature.sign(work / entry.file, signing_key, run)
                return packed_folder.publish(entry, work, folder), True
    except OSError as error:
        failure = f"{folder}, where {release.name} cannot be packed ({error})"
        raise ProblemError(
            Problem(packed_folder.VARIABLE, failure, "a writable folder and a readable release")
        ) from error


def unpack(
    archive: typing.IO[bytes], where: str, staged: pathlib.Path, packages: Borrow, progress: Progress
) -> Manifest:
    """Unpack ``archive`` into ``staged``, which is absent or empty; return its manifest, which is not written.

    Messages call the archive ``where``. Every file is checked against the manifest. Members that are not in it, come
    twice, lead outside or are neither file nor link are refused; then nothing is left. Raises ProblemError.
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
        return release_archive.extract(archive, staged, begin, meter.add, lambda: packages(_PACKAGE, ARCHIVER))
    except BaseException as error:
        shutil.rmtree(staged, ignore_errors=True)
        if isinstance(error, OSError):
            wanted = "a readable archive and a writable folder"
            raise ProblemError(Problem(_PACKED, f"{where}, which cannot be unpacked ({error})", wanted)) from error
        if isinstance(error, ValueError):
            fix = "do not trust it, or fetch or pack it again"
            raise ProblemError(
                Problem(_PACKED, printable(f"{where} with {error}"), "an archive packed by llama-fleet", fix)
            ) from error
        raise


@contextlib.contextmanager
def _workplace(work: pathlib.Path) -> typing.Iterator[pathlib.Path]:
    shutil.rmtree(work, ignore_errors=True)  # left by a killed run
    work.mkdir()
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


class _Meter:
    """A counter that adds up the progress of a stage."""

    def __init__(self, progress: Progress, total: int = 0) -> None:
        self.total = total
        self._progress = progress
        self._done = 0

    def add(self, count: int) -> None:
        self._done += count
        self._progress.update(self._done, self.total, BYTES)


def _manifest(release: pathlib.Path) -> Manifest:
    recorded = read_manifest(release) or {}
    manifest = whole_manifest(release, str(recorded.get("fingerprint")))
    if manifest is None or not is_name(packed_folder.name_of(manifest)):
        fix = "remove that folder; the next run makes it again"
        raise ProblemError(Problem("release", f"{release}, which is damaged or none", "a whole release", fix))
    return manifest


def _write(release: pathlib.Path, manifest: Manifest, work: pathlib.Path, progress: Progress) -> Entry:
    """Write archive and manifest below ``work``, and return the index entry."""
    name = packed_folder.name_of(manifest)
    progress.stage(f"packing {name}")
    meter = _Meter(progress, sum(manifest["sizes"].values()))
    archive = work / f"{name}{SUFFIX}"
    try:
        with archive.open("wb") as file:
            hashing = release_archive.HashingFile(file, archive)
            release_archive.write(release, manifest, hashing, meter.add)
    except ValueError as error:
        raise ProblemError(
            Problem("release", str(error), "a whole release", f"remove {release}; the next run makes it again")
        ) from error
    write_json(work / f"{name}.json", manifest)
    return packed_folder.entry_of(archive, manifest, hashing.sha256)
