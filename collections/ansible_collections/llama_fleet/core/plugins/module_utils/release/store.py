# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Store releases on the host: immutable folders, whole or absent, each described by its manifest."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.host.files import (
    read_json,
    sha256_of,
    sync_directory,
    write_json,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.untrusted import (
    NAME,
    SHA256,
    Flag,
    Inside,
    Many,
    Number,
    Plain,
    Record,
    Table,
    Text,
    Word,
    parse,
)

if typing.TYPE_CHECKING:
    import pathlib

MANIFEST = "manifest.json"
Manifest = dict[str, typing.Any]
LONGEST_MANIFEST = 4 << 20  # bytes; one has 60 KB
_TEXT = Text(most=8192)
_FLAG = Record(
    {"names": Many(_TEXT)},
    {
        **dict.fromkeys(("value", "environment", "advice"), Word()),
        "removed": Flag(),
        **dict.fromkeys(("choices", "meanings"), Many(Word())),
    },
    others=Plain(2),
)
# Validated because another host may have written it: releases are built, downloaded or copied here.
_SHAPE = Record(
    optional={
        **dict.fromkeys(("build", "commit", "backend", "origin"), _TEXT),
        **dict.fromkeys(("source", "taken_from"), Word()),
        "fingerprint": Text(f"(?:{NAME})?"),
        "fingerprint_parts": Record(optional={"cmake_options": Table(Word(), keys=Word(200))}, others=Plain(4)),
        "files": Table(Text(SHA256), keys=Inside()),
        "sizes": Table(Number(), keys=Inside()),
        "links": Table(Inside(), keys=Inside()),
        "cured": Many(_TEXT),
        "smoke_test": Table(Table(Plain(1))),
        "options": Record(
            optional={
                "flags": Many(_TEXT),
                "environments": Many(_TEXT),
                "details": Many(_FLAG),
            },
        ),
    },
    others=Plain(),
)


def parse_manifest(text: bytes) -> Manifest:
    """Return the manifest of a release from its JSON. Raises ShapeError."""
    manifest: Manifest = parse(text, _SHAPE, "the manifest", LONGEST_MANIFEST)
    return manifest


def read_manifest(release: pathlib.Path, name: str = MANIFEST) -> Manifest | None:
    """Return the manifest in a release's folder, or None if it is missing or invalid."""
    manifest: Manifest | None = read_json(release / name, _SHAPE, LONGEST_MANIFEST)
    return manifest


def record_of(release: pathlib.Path) -> dict[str, str]:
    """Return the version of a release and how it came to be, as its record says; empty texts where it says nothing."""
    manifest = read_manifest(release) or {}
    return {name: str(manifest.get(name, "")) for name in ("build", "nightly", "source", "origin", "why")}


def release_path(root: pathlib.Path, build: str, fingerprint: str) -> pathlib.Path:
    """Return the path of the release with ``fingerprint``, whether it exists or not."""
    return root / "releases" / f"{build}-{fingerprint[:12]}"


def whole_manifest(path: pathlib.Path, fingerprint: str) -> Manifest | None:
    """Return the manifest of the release at ``path`` if it is whole and its fingerprint begins with ``fingerprint``.

    Compares the sizes of all files and reads no content. Returns None otherwise.
    """
    manifest = read_manifest(path)
    if manifest is None or not fingerprint or not str(manifest.get("fingerprint")).startswith(fingerprint):
        return None
    try:
        sizes = all((path / name).stat().st_size == size for name, size in manifest["sizes"].items())
        links = all(os.readlink(path / name) == target for name, target in manifest["links"].items())
    except (OSError, KeyError, AttributeError):
        return None
    return manifest if sizes and links else None


def find_release(root: pathlib.Path, parts: typing.Mapping[str, typing.Any]) -> tuple[pathlib.Path, Manifest] | None:
    """Return the newest whole release that agrees in all ``parts``; other fingerprint parts may differ."""

    def agrees(manifest: Manifest) -> bool:
        recorded = manifest.get("fingerprint_parts", {})
        return all(recorded.get(name) == value for name, value in parts.items())

    return find_good(root, agrees)


def find_good(root: pathlib.Path, fits: typing.Callable[[Manifest], bool]) -> tuple[pathlib.Path, Manifest] | None:
    """Return the newest whole release whose manifest ``fits``, or None."""
    good = (
        (path, manifest)
        for path, manifest in _manifests(root)
        if fits(manifest) and whole_manifest(path, manifest.get("fingerprint", ""))
    )
    return next(good, None)


def newest_manifest(root: pathlib.Path) -> Manifest | None:
    """Return the manifest of the newest release, or None if there is none."""
    return next((manifest for _path, manifest in _manifests(root)), None)


def _manifests(root: pathlib.Path) -> typing.Iterator[tuple[pathlib.Path, Manifest]]:
    """Yield every release with a manifest, newest first."""
    manifests = []
    for path in (root / "releases").glob(f"[!.]*/{MANIFEST}"):
        with contextlib.suppress(OSError):
            manifests.append((path.stat().st_mtime, path))
    for _time, path in sorted(manifests, reverse=True):
        manifest = read_manifest(path.parent)
        if manifest is not None:
            yield path.parent, manifest


def copy_programs(source: pathlib.Path, target: pathlib.Path) -> None:
    """Copy only the programs, the shared libraries and their links from ``source`` to ``target``."""
    target.mkdir(parents=True)
    for path in sorted(source.iterdir()):
        library = ".so" in path.suffixes
        if path.is_symlink() and library:
            (target / path.name).symlink_to(os.readlink(path))
        elif not path.is_symlink() and path.is_file() and (library or os.access(path, os.X_OK)):
            copy_regular(path, target / path.name)


def copy_regular(source: pathlib.Path, target: pathlib.Path) -> None:
    """Copy a file that another user may have written, with its executable bit but not its owner.

    Raises OSError if it is a link, not a regular file, or has several names.
    """
    with os.fdopen(os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
            raise OSError(errno.EINVAL, "it is not a regular file with a single name", str(source))
        with target.open("xb") as copy:
            shutil.copyfileobj(file, copy)
            os.fchmod(copy.fileno(), 0o755 if status.st_mode & stat.S_IXUSR else 0o644)


def describe(path: pathlib.Path) -> Manifest:
    """Return SHA-256 and size of every file of the release, and the targets of its links."""
    files = [
        file for file in sorted(path.rglob("*")) if file.name != MANIFEST and (file.is_file() or file.is_symlink())
    ]
    plain = [file for file in files if not file.is_symlink()]
    return {
        "files": {str(file.relative_to(path)): sha256_of(file) for file in plain},
        "sizes": {str(file.relative_to(path)): file.stat().st_size for file in plain},
        "links": {str(file.relative_to(path)): os.readlink(file) for file in files if file.is_symlink()},
    }


def publish(staged: pathlib.Path, path: pathlib.Path, manifest: Manifest) -> None:
    """Make ``staged`` the release at ``path`` in one rename, after syncing all of it to disk."""
    for name in manifest["files"]:
        with (staged / name).open("rb") as file:
            os.fsync(file.fileno())
    write_json(staged / MANIFEST, manifest)
    for folder in {staged, *((staged / name).parent for name in manifest["files"])}:
        sync_directory(folder)
    aside = staged.with_name(f"{staged.name}-old")
    if path.exists():  # it is damaged, or it would have been reused
        os.rename(path, aside)
    os.rename(staged, path)
    sync_directory(path.parent)
    shutil.rmtree(aside, ignore_errors=True)


def staging(path: pathlib.Path) -> pathlib.Path:
    """Return the folder in which the release of ``path`` is assembled: a hidden sibling, for an atomic rename."""
    return path.with_name(f".new-{path.name}")


def clear_leftovers(root: pathlib.Path, name: str) -> None:
    """Remove the leftovers of a killed run of the release ``name``; the caller must hold its lock."""
    for leftover in [*(root / "releases").glob(f".new-{name}*"), *(root / "builds").glob(f"{name}.work-*")]:
        shutil.rmtree(leftover, ignore_errors=True)
