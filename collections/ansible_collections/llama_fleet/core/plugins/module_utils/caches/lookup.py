# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Look for a file in the caches of other tools, by the names that they give it.

A cache belongs to a user, and its content is untrusted: nothing below its folder is opened through a link, only regular
files of the wanted size are, and no name proves what a file holds.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
import posixpath
import re
import stat
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.caches.places import (
    BLOBS,
    FLAT,
    HUB,
    NAMED,
    RAMALAMA,
    Place,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.untrusted import SHA256

_MOST_REPOSITORIES = 2000  # of the Hub's cache that are looked into
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
# Do not block on a pipe that replaces the file.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclasses.dataclass(frozen=True)
class Sought:
    """A file to look for. ``repo`` and ``revision`` are empty unless it is on the Hub; ``size`` is in bytes."""

    path: str
    size: int
    sha256: str
    repo: str = ""
    revision: str = ""


@dataclasses.dataclass(frozen=True)
class Copy:
    """A file of a cache with the wanted size. Its bytes are not verified."""

    place: Place
    name: str
    size: int

    @property
    def path(self) -> str:
        return posixpath.join(self.place.folder, self.name)

    def open(self) -> typing.BinaryIO:
        """Open it for reading. Raises OSError."""
        return os.fdopen(opened(self.place.folder, self.name), "rb")

    def status(self) -> os.stat_result:
        """Return the status of the file itself. Raises OSError."""
        with self.open() as file:
            return os.fstat(file.fileno())


class Caches:
    """The caches of a host. Each folder of repositories is listed once."""

    def __init__(self, places: typing.Sequence[Place]) -> None:
        self.places = places
        self._repositories: dict[Place, list[str]] = {}

    def find(self, sought: Sought) -> Copy | None:
        """Return the first file that may be the sought one: its size is right, and its name that of the tool for it."""
        if not sought.size or not re.fullmatch(SHA256, sought.sha256):
            return None
        for place in self.places:
            for name in self._names(place, sought):
                copy = Copy(place, name, sought.size)
                with contextlib.suppress(OSError):
                    if copy.status().st_size == sought.size:
                        return copy
        return None

    def _names(self, place: Place, sought: Sought) -> typing.Iterator[str]:
        """Yield the names that a tool may have given the file, relative to its folder."""
        if place.layout == HUB:
            own = [repo_folder(sought.repo)] if sought.repo else []
            yield from (f"{folder}/blobs/{sought.sha256}" for folder in own)
            if own and sought.revision:  # on a file system without links
                yield f"{own[0]}/snapshots/{sought.revision}/{sought.path}"
            yield from (f"{folder}/blobs/{sought.sha256}" for folder in self._listed(place))
        elif place.layout == BLOBS:
            yield from (f"blobs/sha256{separator}{sought.sha256}" for separator in "-:/")
        elif place.layout == FLAT:
            yield from [f"{sought.repo}/{sought.path}".replace("/", "_")] * bool(sought.repo)
            yield posixpath.basename(sought.path)
        elif place.layout == NAMED and sought.repo:
            yield f"{sought.repo}/{sought.path}"
        elif place.layout == RAMALAMA and sought.repo:
            for folder in (sought.repo, f"{sought.repo}/{sought.path}"):
                yield f"huggingface/{folder}/blobs/sha256-{sought.sha256}"

    def _listed(self, place: Place) -> list[str]:
        if place not in self._repositories:
            names: list[str] = []
            with contextlib.suppress(OSError), os.scandir(place.folder) as entries:
                names = [entry.name for entry in itertools.islice(entries, _MOST_REPOSITORIES)]
            self._repositories[place] = sorted(name for name in names if name.startswith("models--"))
        return self._repositories[place]


def repo_folder(repo: str) -> str:
    """Return the name of a repository's folder in the cache of the Hub's client."""
    return "models--" + repo.replace("/", "--")


def opened(folder: str, name: str, flags: int = _FILE) -> int:
    """Open the regular file ``name`` below ``folder`` without following a link below it.

    With other ``flags`` open a folder. Return the descriptor. Raises OSError.
    """
    *parents, last = name.split("/")
    descriptor = os.open(folder, _FOLDER)
    try:
        for parent in parents:
            inner = os.open(parent, _FOLDER | os.O_NOFOLLOW, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = inner
        # Before it is opened, because opening some devices has an effect.
        if flags == _FILE and not stat.S_ISREG(os.stat(last, dir_fd=descriptor, follow_symlinks=False).st_mode):
            raise FileNotFoundError(last)
        inner = os.open(last, flags | os.O_NOFOLLOW, dir_fd=descriptor)
    finally:
        os.close(descriptor)
    if flags == _FILE and not stat.S_ISREG(os.fstat(inner).st_mode):
        os.close(inner)
        raise FileNotFoundError(last)
    return inner


def opened_folder(folder: str, name: str) -> int:
    """Open the folder ``name`` below ``folder`` without following a link below it. Raises OSError."""
    return opened(folder, name, _FOLDER)
