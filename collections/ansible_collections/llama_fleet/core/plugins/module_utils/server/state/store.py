# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The numbered generations of an instance on disk; the link ``current`` points at the one that counts."""

from __future__ import annotations

import dataclasses
import os
import shutil
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.host import files
from ansible_collections.llama_fleet.core.plugins.module_utils.host.systemd_text import environment_file
from ansible_collections.llama_fleet.core.plugins.module_utils.server.state.generations import (
    CURRENT,
    KEY_FILE,
    LONGEST,
    MANIFEST,
    SHAPE,
    Content,
    Generation,
    target_of,
    text_sha256,
    variables_of,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.untrusted import Number, Record

if typing.TYPE_CHECKING:
    import pathlib

_ROLLBACK = "rolling-back"
_STOPPED = "stopped"


class Store:
    """The generations of one instance, below its folder."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self._generations = folder / "generations"
        self._link = folder / CURRENT

    def all(self) -> list[Generation]:
        """Every whole generation, oldest first."""
        names = [
            name for name in (os.listdir(self._generations) if self._generations.is_dir() else []) if name.isdigit()
        ]
        return [generation for generation in map(self.get, sorted(map(int, names))) if generation is not None]

    def get(self, number: int) -> Generation | None:
        path = self._generations / str(number)
        manifest = files.read_json(path / MANIFEST, SHAPE, LONGEST)
        return Generation(number, path, manifest) if manifest is not None else None

    def current(self) -> Generation | None:
        try:
            name = os.path.basename(os.readlink(self._link))
        except OSError:
            return None
        return self.get(int(name)) if name.isdigit() else None

    def last_good(self, other_than: int) -> Generation | None:
        """The newest generation that passed its gate, apart from ``other_than``."""
        return next((found for found in reversed(self.all()) if found.good and found.number != other_than), None)

    def next_number(self) -> int:
        return max((generation.number for generation in self.all()), default=0) + 1

    def write(self, content: Content, **notes: typing.Any) -> Generation:
        """Put ``content`` on disk as the next generation, whole or not at all; nothing points at it yet.

        ``notes`` are for its manifest: what is known of it and does not make it another one.
        """
        number = self.next_number()
        path = self._generations / str(number)
        self._generations.mkdir(parents=True, exist_ok=True)
        building = self._generations / f".{number}.new"
        for leftover in (building, path):
            shutil.rmtree(leftover, ignore_errors=True)
        building.mkdir(mode=0o755)
        variables = variables_of(content, self.folder, number)
        environment = environment_file(variables)
        files.write_atomic(building / "environment", environment, 0o640)
        for name, text in content.files.items():
            files.write_atomic(building / name, text, 0o644)
        if content.api_keys:
            files.write_atomic(building / KEY_FILE, "\n".join(content.api_keys) + "\n", 0o400)
        described = content.described()
        described["files"]["environment"] = text_sha256(environment)
        manifest = {
            **notes,
            **described,
            "number": number,
            "fingerprint": content.fingerprint,
            "environment": variables,
            "good": False,
        }
        files.write_json(building / MANIFEST, manifest, 0o640)
        os.rename(building, path)
        files.sync_directory(self._generations)
        return Generation(number, path, manifest)

    def switch(self, generation: Generation) -> None:
        self.end_stop()
        files.link_atomic(self._link, target_of(generation))

    def mark_good(self, generation: Generation, speed: float = 0.0) -> Generation:
        """Note that it passed its gate, and at first how fast it was."""
        if generation.good:
            return generation
        manifest = {**generation.manifest, "good": True, "speed": speed}
        files.write_json(generation.path / MANIFEST, manifest, 0o640)
        return dataclasses.replace(generation, manifest=manifest)

    def forget_current(self) -> None:
        """Point at no generation: the only one there was is not good."""
        if self._link.is_symlink() or not self._link.is_dir():
            self._link.unlink(missing_ok=True)

    def prune(self, keep: int) -> None:
        """Keep the current generation, the ``keep`` newest good ones, and the newest failure for whoever looks into
        it.
        """
        everything = self.all()
        current = self.current()
        kept = {current.number} if current else set()
        kept |= {generation.number for generation in [found for found in everything if found.good][-max(1, keep) :]}
        kept |= {generation.number for generation in [found for found in everything if not found.good][-1:]}
        for generation in everything:
            if generation.number not in kept:
                self._discard(generation.path)

    def _discard(self, path: pathlib.Path) -> None:
        """Remove a folder so that no part of it is ever taken for the whole."""
        doomed = path.with_name(f".{path.name}.old")
        shutil.rmtree(doomed, ignore_errors=True)
        os.rename(path, doomed)
        shutil.rmtree(doomed, ignore_errors=True)

    # -- whether it is to run ----------------------------------------------------------------------

    @property
    def stopped(self) -> bool:
        """Whether it was stopped because somebody asked for that, rather than by an accident or by hand."""
        return (self.folder / _STOPPED).exists()

    def begin_stop(self) -> None:
        files.write_atomic(self.folder / _STOPPED, "")

    def end_stop(self) -> None:
        (self.folder / _STOPPED).unlink(missing_ok=True)

    # -- what a run leaves for the next, should it be killed ---------------------------------------

    def begin_rollback(self, number: int) -> None:
        """Note where a rollback goes: taken up again, "the one before" must not mean one more."""
        files.write_json(self.folder / _ROLLBACK, {"to": number})

    def end_rollback(self) -> None:
        (self.folder / _ROLLBACK).unlink(missing_ok=True)

    @property
    def unfinished(self) -> bool:
        """Whether there is a note of a stop or of a rollback that a run ends."""
        return self.stopped or (self.folder / _ROLLBACK).exists()

    def unfinished_rollback(self) -> Generation | None:
        """Where a rollback that was killed was going."""
        number = (files.read_json(self.folder / _ROLLBACK, Record(optional={"to": Number()})) or {}).get("to")
        return self.get(number) if number is not None else None

    def sweep(self) -> None:
        """Remove what a run that was killed has left half done; whoever calls holds the lock."""
        for folder in (self.folder, self._generations, *(generation.path for generation in self.all())):
            for name in os.listdir(folder) if folder.is_dir() else []:
                if name.startswith(".") and name.endswith((".new", ".old")):
                    leftover = folder / name
                    if leftover.is_dir() and not leftover.is_symlink():
                        shutil.rmtree(leftover, ignore_errors=True)
                    else:
                        leftover.unlink()

    def remove(self) -> None:
        self.forget_current()
        if self._generations.exists():
            self._discard(self._generations)
        shutil.rmtree(self.folder, ignore_errors=True)
