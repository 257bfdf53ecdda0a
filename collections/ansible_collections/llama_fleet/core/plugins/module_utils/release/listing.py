# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""List the releases on a host with their size, origin and users."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import os
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.release.store import (
    MANIFEST,
    Manifest,
    read_manifest,
    whole_manifest,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.release.usage import uses_of

if typing.TYPE_CHECKING:
    import pathlib

    from ansible_collections.llama_fleet.core.plugins.module_utils.release.usage import Use

_TEXTS = ("build", "commit", "fingerprint", "backend", "source", "taken_from")


@dataclasses.dataclass(frozen=True)
class Release:
    """A folder among the releases.

    ``manifest`` is empty if it has no readable one; ``created`` is in seconds since 1970.
    """

    path: pathlib.Path
    manifest: Manifest
    created: float

    @property
    def is_ours(self) -> bool:
        """Return whether the folder was published by us, judging by its name."""
        fingerprint = str(self.manifest.get("fingerprint", ""))
        return bool(fingerprint) and self.path.name == f"{self.manifest.get('build')}-{fingerprint[:12]}"

    @property
    def whole(self) -> bool:
        return whole_manifest(self.path, str(self.manifest.get("fingerprint", ""))) is not None


def releases(root: pathlib.Path, variable: str) -> list[Release]:
    """List the folders among the releases below ``root``, newest first.

    ``variable`` is the role variable that names ``root``. Raises ProblemError.
    """
    place = root / "releases"
    try:
        folders = [path for path in place.iterdir() if path.is_dir() and not path.name.startswith(".")]
    except FileNotFoundError:
        return []
    except OSError as error:
        unreadable = f"{place}, which cannot be read ({error.strerror})"
        raise ProblemError(
            Problem(variable, unreadable, "a folder that this user can read", "use become or sudo")
        ) from error
    return sorted(map(_release, folders), key=lambda release: (-release.created, release.path.name))


def _release(path: pathlib.Path) -> Release:
    """Return the release in a folder. Its manifest is written last, so its time is that of the release."""
    manifest = read_manifest(path)
    return Release(path, manifest or {}, _written(path / MANIFEST) or _written(path))


def _written(path: pathlib.Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def described(release: Release, uses: typing.Iterable[Use]) -> dict[str, typing.Any]:
    """Return a release as JSON; texts that its manifest lacks are empty."""
    manifest = release.manifest
    return {
        "path": str(release.path),
        **{name: str(manifest.get(name) or "") for name in _TEXTS},
        "origin": str(manifest.get("origin") or ("built" if manifest else "")),
        "cured": list(manifest.get("cured") or []),
        "size": size_of(release.path),
        "created": dt.datetime.fromtimestamp(int(release.created), dt.timezone.utc).isoformat().replace("+00:00", "Z"),
        "whole": release.whole,
        "used_by": _used_by(release.path, uses),
    }


def _used_by(path: pathlib.Path, uses: typing.Iterable[Use]) -> list[dict[str, typing.Any]]:
    """List the instances, with their generations, that refer to a file in ``path``."""
    generations_of: dict[str, set[str]] = {}
    for use in uses_of(path, uses):
        generations_of.setdefault(use.instance, set()).add(use.generation)
    return [
        {"instance": name, "generations": sorted(numbers, key=_by_number)} for name, numbers in generations_of.items()
    ]


def _by_number(generation: str) -> tuple[int, str]:
    return int(generation) if generation.isdigit() else 0, generation


def size_of(path: pathlib.Path) -> int:
    """Return the bytes of a file, or of all files below a folder; files that vanish meanwhile count 0."""
    if path.is_file():
        return path.stat().st_size
    total = 0
    for folder, _folders, names in os.walk(path):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                total += os.lstat(os.path.join(folder, name)).st_size
    return total
