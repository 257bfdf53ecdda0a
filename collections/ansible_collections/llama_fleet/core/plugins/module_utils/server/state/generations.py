# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Numbered states of one instance on disk; ``current`` is a link to the one that counts."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.host import files
from ansible_collections.llama_fleet.core.plugins.module_utils.host.systemd_text import environment_file
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.options import (
    GENERATION_VARIABLE,
    INSTANCE_VARIABLE,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.untrusted import (
    Flag,
    Many,
    Maybe,
    Number,
    Plain,
    Real,
    Record,
    Table,
    Word,
)

if typing.TYPE_CHECKING:
    import pathlib

MANIFEST = "manifest.json"
KEY_FILE = "api-key"
CURRENT = "current"
_ROLLBACK = "rolling-back"
_STOPPED = "stopped"
_LONGEST = 4 << 20  # bytes of a manifest
_WORDS = Table(Word(), keys=Word())
_SHAPE = Record(
    optional={
        **dict.fromkeys(
            (
                "runtime",
                "release",
                "release_fingerprint",
                "model",
                "fingerprint",
                "build",
                "created",
                "unit_sha256",
                "api_key_sha256",
            ),
            Word(),
        ),
        **dict.fromkeys(("number", "model_size", "context_length", "previous"), Maybe(Number(), 0)),
        "command": Many(Word()),
        **dict.fromkeys(("environment", "variables", "inputs"), _WORDS),
        "files": Maybe(_WORDS),  # null in those of before
        "options": Record(optional={"port": Maybe(Number(most=65535), 0), "host": Maybe(Word(), "")}, others=Plain()),
        "memory": Table(Number(), keys=Word()),
        "memory_plan": Many(Record({"device": Word(), "model_mib": Number()}, others=Plain())),
        "model_file": Many(Plain()),
        "good": Flag(),
        "speed": Maybe(Real(), 0.0),
    },
    others=Plain(),
)


@dataclasses.dataclass(frozen=True)
class Content:
    """Everything that makes a generation what it is: what runs, and what it was asked for.

    ``files`` are the rendered ones by their name.
    """

    runtime: str
    release: str
    release_fingerprint: str
    model: str
    model_size: int
    options: typing.Mapping[str, typing.Any]
    variables: typing.Mapping[str, str]
    command: tuple[str, ...]
    files: typing.Mapping[str, str] = dataclasses.field(default_factory=dict)
    # Of what is read at start and may change in its place, such as a certificate: variable and fingerprint.
    inputs: typing.Mapping[str, str] = dataclasses.field(default_factory=dict)
    api_keys: tuple[str, ...] = dataclasses.field(default=(), repr=False)

    @property
    def api_key_sha256(self) -> str:
        return _sha256("\n".join(self.api_keys)) if self.api_keys else ""

    def described(self) -> dict[str, typing.Any]:
        """The content as JSON, without the keys themselves."""
        plain = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.name not in ("api_keys", "files")
        }
        files_sha256 = {name: _sha256(text) for name, text in self.files.items()}
        described = {**plain, "inputs": dict(self.inputs), "command": list(self.command), "files": files_sha256}
        return {
            **described,
            "unit_sha256": files_sha256.get("unit", _sha256("")),
            "api_key_sha256": self.api_key_sha256,
        }

    @property
    def device(self) -> str:
        return device_of(self.variables)

    @property
    def fingerprint(self) -> str:
        """Over what runs.

        An option that changes nothing of it, such as a number of threads that was taken anyway, makes no new
        generation.
        """
        runs = {name: value for name, value in self.described().items() if name != "options"}
        return _sha256(json.dumps(runs, sort_keys=True))


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
    def model(self) -> str:
        return str(self.manifest.get("model", ""))

    @property
    def command(self) -> list[str]:
        return [str(word) for word in self.manifest.get("command", [])]

    @property
    def variables(self) -> dict[str, str]:
        return {str(name): str(value) for name, value in self.manifest.get("environment", {}).items()}

    @property
    def options(self) -> dict[str, typing.Any]:
        return dict(self.manifest.get("options", {}))

    @property
    def port(self) -> int:
        return int(self.options.get("port", 0))

    @property
    def host(self) -> str:
        return str(self.options.get("host", ""))

    @property
    def speed(self) -> float:
        """Tokens a second when it passed its gate; 0 where that is not known."""
        return float(self.manifest.get("speed", 0.0))

    @property
    def memory(self) -> dict[str, int]:
        """MiB of every device, as planned; empty where that is not known."""
        return {str(name): int(mib) for name, mib in self.manifest.get("memory", {}).items()}

    def text(self, name: str) -> str:
        try:
            return (self.path / name).read_text(encoding="utf-8")
        except OSError:
            return ""

    @property
    def api_key(self) -> str:
        """One of its keys; empty where it has none."""
        return self.text(KEY_FILE).partition("\n")[0]

    @property
    def files(self) -> dict[str, str]:
        """Name and sha256 of every file that was rendered for it, also where its manifest is of before they were
        noted.
        """
        told = self.manifest.get("files")
        if isinstance(told, dict):
            return {str(name): str(sha256) for name, sha256 in told.items()}
        unit = {"unit": str(self.manifest.get("unit_sha256", ""))} if self.runtime == "systemd" else {}
        return {"environment": _sha256(environment_file(self.variables)), **unit}

    def damage(self) -> list[str]:
        """Names of its files that are not as they were written."""
        damaged = [name for name, sha256 in sorted(self.files.items()) if _sha256(self.text(name)) != sha256]
        keys = self.manifest.get("api_key_sha256", "")
        return damaged + ([KEY_FILE] if keys and _sha256(self.text(KEY_FILE).removesuffix("\n")) != keys else [])


def target_of(generation: Generation) -> str:
    """Return what the link to the current generation holds where that is this one."""
    return f"generations/{generation.number}"


def device_of(variables: typing.Mapping[str, str]) -> str:
    """The devices that a server with this environment computes on, ``cpu`` or such as ``CUDA0``."""
    devices = variables.get("LLAMA_ARG_DEVICE", "none")
    return "cpu" if devices == "none" else devices


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def variables_of(content: Content, folder: pathlib.Path, number: int) -> dict[str, str]:
    """The environment of generation ``number``: it tells a running process's generation for sure."""
    return {**content.variables, INSTANCE_VARIABLE: str(folder), GENERATION_VARIABLE: str(number)}


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
        manifest = files.read_json(path / MANIFEST, _SHAPE, _LONGEST)
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
        described["files"]["environment"] = _sha256(environment)
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
