# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The releases that a host has: what they are, what they take, who uses them."""

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

    ``manifest`` is empty where it has none that can be read; ``created`` is in seconds.
    """

    path: pathlib.Path
    manifest: Manifest
    created: float

    @property
    def is_ours(self) -> bool:
        """Whether it was published here, and is not something that somebody put beside the releases."""
        fingerprint = str(self.manifest.get("fingerprint", ""))
        return bool(fingerprint) and self.path.name == f"{self.manifest.get('build')}-{fingerprint[:12]}"

    @property
    def whole(self) -> bool:
        return whole_manifest(self.path, str(self.manifest.get("fingerprint", ""))) is not None


def releases(root: pathlib.Path, variable: str) -> list[Release]:
    """Every folder among the releases below ``root``, the newest first; ``variable`` is the one that names ``root``."""
    place = root / "releases"
    try:
        folders = [path for path in place.iterdir() if path.is_dir() and not path.name.startswith(".")]
    except FileNotFoundError:
        return []
    except OSError as error:
        found = f"{place}, which cannot be read ({error.strerror})"
        raise ProblemError(
            Problem(variable, found, "a folder that this user can read", "run with become or sudo")
        ) from error
    return sorted(map(_release, folders), key=lambda release: (-release.created, release.path.name))


def _release(path: pathlib.Path) -> Release:
    """When it came to the host is when its manifest was written, for that is the last thing."""
    manifest = read_manifest(path)
    return Release(path, manifest or {}, _written(path / MANIFEST) or _written(path))


def _written(path: pathlib.Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def described(release: Release, uses: typing.Iterable[Use]) -> dict[str, typing.Any]:
    """A release as JSON; texts that its manifest does not tell are empty."""
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
    """Instances with their generations that refer to anything in ``path``."""
    found: dict[str, set[str]] = {}
    for use in uses_of(path, uses):
        found.setdefault(use.instance, set()).add(use.generation)
    return [
        {"instance": name, "generations": sorted(generations, key=_by_number)} for name, generations in found.items()
    ]


def _by_number(generation: str) -> tuple[int, str]:
    return int(generation) if generation.isdigit() else 0, generation


def size_of(path: pathlib.Path) -> int:
    """The bytes of all files below ``path``, or of the file ``path``; what goes away meanwhile counts nothing."""
    if path.is_file():
        return path.stat().st_size
    total = 0
    for folder, _folders, names in os.walk(path):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                total += os.lstat(os.path.join(folder, name)).st_size
    return total
