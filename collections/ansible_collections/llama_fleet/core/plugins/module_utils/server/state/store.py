# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Store the numbered generations of an instance; the link ``current`` points to the active one."""

from __future__ import annotations

import dataclasses
import os
import shutil
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.host import files
from ansible_collections.llama_fleet.core.plugins.module_utils.host.systemd_text import environment_file
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import state_folder
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
from ansible_collections.llama_fleet.core.plugins.module_utils.untrusted import Many, Number, Record, Text

if typing.TYPE_CHECKING:
    import pathlib

_ROLLBACK = "rolling-back"
_STOPPED = "stopped"
_SLOTS = "slot-paths.json"


class Store:
    """The generations of one instance, below its folder."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self._generations = folder / "generations"
        self._link = folder / CURRENT

    def all(self) -> list[Generation]:
        """Return all complete generations, oldest first."""
        names = [
            name for name in (os.listdir(self._generations) if self._generations.is_dir() else []) if name.isdigit()
        ]
        return [generation for generation in map(self.get, sorted(map(int, names))) if generation is not None]

    def get(self, number: int) -> Generation | None:
        """Return a generation, or None if it is missing or unreadable."""
        path = self._generations / str(number)
        manifest = files.read_json(path / MANIFEST, SHAPE, LONGEST)
        return Generation(number, path, manifest) if manifest is not None else None

    def current(self) -> Generation | None:
        """Return the active generation, or None."""
        try:
            name = os.path.basename(os.readlink(self._link))
        except OSError:
            return None
        return self.get(int(name)) if name.isdigit() else None

    def last_good(self, other_than: int) -> Generation | None:
        """Return the newest good generation except ``other_than``, or None."""
        good = (each for each in reversed(self.all()) if each.good and each.number != other_than)
        return next(good, None)

    def next_number(self) -> int:
        return max((generation.number for generation in self.all()), default=0) + 1

    def write(self, content: Content, **notes: typing.Any) -> Generation:
        """Write ``content`` as the next generation, atomically; ``current`` still points to the old one.

        ``notes`` are added to its manifest and do not count towards its fingerprint.
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

    def rewrite_unit(self, generation: Generation, content: Content, name: str) -> Generation:
        """Replace the file ``name`` of a generation by that of ``content``, which is the same in everything else.

        The manifest is written last: a run that is killed before leaves a file that the next run writes again.
        """
        files.write_atomic(generation.path / name, content.files[name], 0o644)
        described = content.described()
        described["files"]["environment"] = generation.files["environment"]
        manifest = {**generation.manifest, **described, "fingerprint": content.fingerprint}
        files.write_json(generation.path / MANIFEST, manifest, 0o640)
        return dataclasses.replace(generation, manifest=manifest)

    def switch(self, generation: Generation) -> None:
        """Make ``generation`` the active one."""
        self.end_stop()
        files.link_atomic(self._link, target_of(generation))

    def mark_good(self, generation: Generation, speed: float = 0.0) -> Generation:
        """Record that it passed its gate, and its speed in tokens per second the first time."""
        if generation.good:
            return generation
        manifest = {**generation.manifest, "good": True, "speed": speed}
        files.write_json(generation.path / MANIFEST, manifest, 0o640)
        return dataclasses.replace(generation, manifest=manifest)

    def forget_current(self) -> None:
        """Remove the link ``current``, because the only generation failed."""
        if self._link.is_symlink() or not self._link.is_dir():
            self._link.unlink(missing_ok=True)

    def prune(self, keep: int) -> None:
        """Keep the current generation, the ``keep`` newest good ones, and the newest failed one for diagnosis."""
        everything = self.all()
        current = self.current()
        kept = {current.number} if current else set()
        kept |= {generation.number for generation in [each for each in everything if each.good][-max(1, keep) :]}
        kept |= {generation.number for generation in [each for each in everything if not each.good][-1:]}
        pruned = [generation for generation in everything if generation.number not in kept]
        paths, noted = {_slots(generation) for generation in pruned} - {""}, set(self._noted_slots())
        if paths - noted:
            # Removing the instance removes what its servers have written, whichever generation it was.
            files.write_json(self.folder / _SLOTS, {"paths": sorted(paths | noted)})
        for generation in pruned:
            self._discard(generation.path)

    def slot_paths(self) -> list[str]:
        """Return the paths at which servers of any generation, also of pruned ones, have saved slots."""
        return sorted({*map(_slots, self.all()), *self._noted_slots()} - {""})

    def _noted_slots(self) -> list[str]:
        shape = Record(optional={"paths": Many(Text(most=4096), most=1000)})
        return list((files.read_json(self.folder / _SLOTS, shape) or {}).get("paths", []))

    def _discard(self, path: pathlib.Path) -> None:
        """Rename a folder before deleting it, so that no part of it is taken for a generation."""
        doomed = path.with_name(f".{path.name}.old")
        shutil.rmtree(doomed, ignore_errors=True)
        os.rename(path, doomed)
        shutil.rmtree(doomed, ignore_errors=True)

    # -- a requested stop --------------------------------------------------------------------------

    @property
    def stopped(self) -> bool:
        """Return whether a user stopped the instance through llama-fleet, as opposed to a crash or a manual stop."""
        return (self.folder / _STOPPED).exists()

    def begin_stop(self) -> None:
        files.write_atomic(self.folder / _STOPPED, "")

    def end_stop(self) -> None:
        (self.folder / _STOPPED).unlink(missing_ok=True)

    # -- notes for the next run, should this one be killed -----------------------------------------

    def begin_rollback(self, number: int) -> None:
        """Record the target, because a resumed rollback must not go back one generation further."""
        files.write_json(self.folder / _ROLLBACK, {"to": number})

    def end_rollback(self) -> None:
        (self.folder / _ROLLBACK).unlink(missing_ok=True)

    @property
    def unfinished(self) -> bool:
        """Return whether a stop or a rollback was recorded and not finished."""
        return self.stopped or (self.folder / _ROLLBACK).exists()

    def unfinished_rollback(self) -> Generation | None:
        """Return the target of a rollback that was interrupted, or None."""
        number = (files.read_json(self.folder / _ROLLBACK, Record(optional={"to": Number()})) or {}).get("to")
        return self.get(number) if number is not None else None

    def sweep(self) -> None:
        """Remove the leftovers of killed runs. The caller holds the lock."""
        for folder in (self.folder, self._generations, *(generation.path for generation in self.all())):
            for name in os.listdir(folder) if folder.is_dir() else []:
                if name.startswith(".") and name.endswith((".new", ".old")):
                    leftover = folder / name
                    if leftover.is_dir() and not leftover.is_symlink():
                        shutil.rmtree(leftover, ignore_errors=True)
                    else:
                        leftover.unlink()

    def remove(self) -> None:
        """Remove the instance's folder, the link first."""
        self.forget_current()
        if self._generations.exists():
            self._discard(self._generations)
        shutil.rmtree(self.folder, ignore_errors=True)


def _slots(generation: Generation) -> str:
    extra = generation.manifest.get("options", {}).get("extra_options", {})
    return state_folder.saved_at(extra) if isinstance(extra, dict) else ""
