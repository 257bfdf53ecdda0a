# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Numbered states of one instance on disk; ``current`` is a link to the one that counts."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import shutil
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils import files
from ansible_collections.llama_fleet.core.plugins.module_utils.server_options import GENERATION_VARIABLE, INSTANCE_VARIABLE
from ansible_collections.llama_fleet.core.plugins.module_utils.systemd_text import environment_file

if typing.TYPE_CHECKING:
    import pathlib

KEEP = 5


@dataclasses.dataclass(frozen=True)
class Content:
    """Everything that makes a generation what it is. Equal contents are the same generation."""

    runtime: str
    release: str
    release_fingerprint: str
    model: str
    model_size: int
    options: typing.Mapping[str, typing.Any]
    variables: typing.Mapping[str, str]
    command: tuple[str, ...]
    unit: str
    api_key: str = dataclasses.field(default="", repr=False)

    @property
    def api_key_sha256(self) -> str:
        return hashlib.sha256(self.api_key.encode("utf-8")).hexdigest() if self.api_key else ""

    def described(self) -> dict[str, typing.Any]:
        """The content as JSON, without the key itself."""
        plain = {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name not in ("api_key", "unit")}
        unit = hashlib.sha256(self.unit.encode("utf-8")).hexdigest()
        return {**plain, "command": list(self.command), "unit_sha256": unit, "api_key_sha256": self.api_key_sha256}

    @property
    def device(self) -> str:
        devices = self.variables.get("LLAMA_ARG_DEVICE", "none")
        return "cpu" if devices == "none" else devices

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(json.dumps(self.described(), sort_keys=True).encode("utf-8")).hexdigest()


@dataclasses.dataclass(frozen=True)
class Generation:
    """One generation as it lies on disk."""

    number: int
    path: pathlib.Path
    manifest: typing.Mapping[str, typing.Any]

    @property
    def fingerprint(self) -> str:
        return str(self.manifest.get("fingerprint", ""))

    @property
    def good(self) -> bool:
        """Whether it passed its gate once."""
        return self.manifest.get("good") is True

    @property
    def runtime(self) -> str:
        return str(self.manifest.get("runtime", ""))

    @property
    def command(self) -> list[str]:
        return [str(word) for word in self.manifest.get("command", [])]

    @property
    def variables(self) -> dict[str, str]:
        return {str(name): str(value) for name, value in self.manifest.get("environment", {}).items()}

    @property
    def port(self) -> int:
        return int(self.manifest.get("options", {}).get("port", 0))

    @property
    def host(self) -> str:
        return str(self.manifest.get("options", {}).get("host", ""))

    def text(self, name: str) -> str:
        try:
            return (self.path / name).read_text(encoding="utf-8")
        except OSError:
            return ""


def variables_of(content: Content, folder: pathlib.Path, number: int) -> dict[str, str]:
    """The environment of generation ``number``: it tells a running process's generation for sure."""
    return {**content.variables, INSTANCE_VARIABLE: str(folder), GENERATION_VARIABLE: str(number)}


class Store:
    """The generations of one instance, below its folder."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self._generations = folder / "generations"
        self._link = folder / "current"

    def all(self) -> list[Generation]:
        """Every whole generation, oldest first."""
        names = [name for name in (os.listdir(self._generations) if self._generations.is_dir() else []) if name.isdigit()]
        return [generation for generation in map(self.get, sorted(map(int, names))) if generation is not None]

    def get(self, number: int) -> Generation | None:
        path = self._generations / str(number)
        manifest = files.read_json(path / "manifest.json")
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

    def write(self, content: Content) -> Generation:
        """Put ``content`` on disk as the next generation, whole or not at all; nothing points at it yet."""
        number = self.next_number()
        path = self._generations / str(number)
        self._generations.mkdir(parents=True, exist_ok=True)
        building = self._generations / f".{number}.new"
        for leftover in (building, path):
            shutil.rmtree(leftover, ignore_errors=True)
        building.mkdir(mode=0o755)
        variables = variables_of(content, self.folder, number)
        files.write_atomic(building / "environment", environment_file(variables), 0o640)
        if content.unit:
            files.write_atomic(building / "unit", content.unit, 0o644)
        if content.api_key:
            files.write_atomic(building / "api-key", content.api_key + "\n", 0o400)
        manifest = {**content.described(), "number": number, "fingerprint": content.fingerprint, "environment": variables, "good": False}
        files.write_json(building / "manifest.json", manifest, 0o640)
        os.rename(building, path)
        files.sync_directory(self._generations)
        return Generation(number, path, manifest)

    def switch(self, generation: Generation) -> None:
        files.link_atomic(self._link, f"generations/{generation.number}")

    def mark_good(self, generation: Generation) -> Generation:
        if generation.good:
            return generation
        manifest = {**generation.manifest, "good": True}
        files.write_json(generation.path / "manifest.json", manifest, 0o640)
        return dataclasses.replace(generation, manifest=manifest)

    def forget_current(self) -> None:
        """Point at no generation: the only one there was is not good."""
        with contextlib.suppress(FileNotFoundError):
            self._link.unlink()

    def prune(self) -> None:
        """Keep the current generation, the newest good ones, and the newest failure for whoever looks into it."""
        everything = self.all()
        current = self.current()
        kept = {current.number} if current else set()
        kept |= {generation.number for generation in [found for found in everything if found.good][-KEEP:]}
        kept |= {generation.number for generation in [found for found in everything if not found.good][-1:]}
        for generation in everything:
            if generation.number not in kept:
                shutil.rmtree(generation.path, ignore_errors=True)

    def remove(self) -> None:
        self.forget_current()
        shutil.rmtree(self.folder, ignore_errors=True)
