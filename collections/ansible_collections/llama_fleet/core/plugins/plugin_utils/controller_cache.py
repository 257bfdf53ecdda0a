# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packed releases on the controller, by which the hosts of a play share what one of them has built.

Each has a folder of its own, with the index of a location of packed releases, so that one rename adds or removes it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
import shutil
import tempfile
import time
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils import release_index
from ansible_collections.llama_fleet.core.plugins.module_utils.files import locked

UNUSED = 30 * 86400  # seconds that a release stays without being taken
# What a host may only come to know when it has installed or unpacked something: others of its kind wait for it all the same.
_LATE = ("compiler", "cuda_toolkit")


@dataclasses.dataclass(frozen=True)
class ControllerCache:
    """The folder ``place``, which need not be there yet."""

    place: pathlib.Path

    def entries(self) -> dict[str, release_index.Entry]:
        """What there is, by the name of the release; what is damaged is left out."""
        found = {}
        for folder in sorted(self.place.glob(f"[!.]*/{release_index.INDEX}")):
            with contextlib.suppress(OSError, ValueError):
                found.update({entry.name: entry for entry in release_index.parse(folder.read_text(encoding="utf-8")) if entry.name == folder.parent.name})
        return found

    def files(self, entry: release_index.Entry) -> list[pathlib.Path]:
        """The archive and, if there is one, its signature. Both count as taken."""
        os.utime(self.place / entry.name)
        return sorted((self.place / entry.name).glob(f"{entry.file}*"))

    @contextlib.contextmanager
    def turn(self, parts: typing.Mapping[str, typing.Any], waiting: typing.Callable[[], None]) -> typing.Iterator[None]:
        """Only one host at a time of those whose release has these ``parts``."""
        early = {name: value for name, value in parts.items() if name not in _LATE}
        digest = hashlib.sha256(json.dumps(early, sort_keys=True).encode()).hexdigest()
        with locked(self.place / ".locks" / digest[:16], waiting):
            yield

    @contextlib.contextmanager
    def adding(self) -> typing.Iterator[pathlib.Path]:
        """An empty folder for the files of one packed release, which is added at the end."""
        self.place.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".new-", dir=self.place) as folder:
            yield pathlib.Path(folder)
            (entry,) = release_index.parse((pathlib.Path(folder) / release_index.INDEX).read_text(encoding="utf-8"))
            shutil.rmtree(self.place / entry.name, ignore_errors=True)
            inside = pathlib.Path(tempfile.mkdtemp(prefix=".new-", dir=self.place))
            for path in pathlib.Path(folder).iterdir():
                os.rename(path, inside / path.name)
            os.rename(inside, self.place / entry.name)
        self._prune()

    def _prune(self) -> None:
        for folder in self.place.iterdir():
            # A hidden one is that of a run which was killed.
            if folder.name != ".locks" and time.time() - folder.stat().st_mtime > UNUSED:
                shutil.rmtree(folder, ignore_errors=True)
