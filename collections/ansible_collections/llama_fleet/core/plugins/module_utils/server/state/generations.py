# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Describe one numbered state of an instance: its content, and how it is stored on disk."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import typing

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
LONGEST = 4 << 20  # bytes of a manifest
_WORDS = Table(Word(), keys=Word())
SHAPE = Record(
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
        "files": Maybe(_WORDS),  # null in manifests of older versions
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
    """The content of a generation: the server that runs, and the options it was requested with.

    ``files`` are the rendered files by name.
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
    # Fingerprints, by variable, of files that are read at start and may be replaced in place, such as a certificate.
    inputs: typing.Mapping[str, str] = dataclasses.field(default_factory=dict)
    api_keys: tuple[str, ...] = dataclasses.field(default=(), repr=False)

    @property
    def api_key_sha256(self) -> str:
        return text_sha256("\n".join(self.api_keys)) if self.api_keys else ""

    def described(self) -> dict[str, typing.Any]:
        """Return the content as JSON values, without the keys themselves."""
        plain = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.name not in ("api_keys", "files")
        }
        files_sha256 = {name: text_sha256(text) for name, text in self.files.items()}
        described = {**plain, "inputs": dict(self.inputs), "command": list(self.command), "files": files_sha256}
        return {
            **described,
            "unit_sha256": files_sha256.get("unit", text_sha256("")),
            "api_key_sha256": self.api_key_sha256,
        }

    @property
    def device(self) -> str:
        return device_of(self.variables)

    @property
    def fingerprint(self) -> str:
        """Return the SHA-256 of everything that affects the running server.

        Options that change neither command, environment nor files, such as threads: 8 if 8 was the default, do not
        make a new generation.
        """
        runs = {name: value for name, value in self.described().items() if name != "options"}
        return text_sha256(json.dumps(runs, sort_keys=True))


@dataclasses.dataclass(frozen=True)
class Generation:
    """A generation that is stored on disk."""

    number: int
    path: pathlib.Path
    manifest: typing.Mapping[str, typing.Any]

    @property
    def fingerprint(self) -> str:
        return str(self.manifest.get("fingerprint", ""))

    @property
    def good(self) -> bool:
        """Return whether it has passed its gate."""
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
        """Return the tokens per second of its gate; 0 if unknown."""
        return float(self.manifest.get("speed", 0.0))

    @property
    def memory(self) -> dict[str, int]:
        """Return the planned MiB of every device; empty if unknown."""
        return {str(name): int(mib) for name, mib in self.manifest.get("memory", {}).items()}

    def text(self, name: str) -> str:
        """Return the text of one of its files, or an empty string."""
        try:
            return (self.path / name).read_text(encoding="utf-8")
        except OSError:
            return ""

    @property
    def api_key(self) -> str:
        """Return its first key, or an empty string."""
        return self.text(KEY_FILE).partition("\n")[0]

    @property
    def files(self) -> dict[str, str]:
        """Return the SHA-256 of its rendered files by name, derived if its manifest is from an older version."""
        listed = self.manifest.get("files")
        if isinstance(listed, dict):
            return {str(name): str(sha256) for name, sha256 in listed.items()}
        unit = str(self.manifest.get("unit_sha256", ""))
        units = {"unit": unit} if unit not in ("", text_sha256("")) else {}
        return {"environment": text_sha256(environment_file(self.variables)), **units}

    def damage(self) -> list[str]:
        """Return the names of its files that were changed since they were written."""
        damaged = [name for name, sha256 in sorted(self.files.items()) if text_sha256(self.text(name)) != sha256]
        keys = self.manifest.get("api_key_sha256", "")
        return damaged + ([KEY_FILE] if keys and text_sha256(self.text(KEY_FILE).removesuffix("\n")) != keys else [])


def target_of(generation: Generation) -> str:
    """Return the target of the link ``current`` if it points to this generation."""
    return f"generations/{generation.number}"


def device_of(variables: typing.Mapping[str, str]) -> str:
    """Return the devices of a server with this environment: ``cpu``, or names such as ``CUDA0``."""
    devices = variables.get("LLAMA_ARG_DEVICE", "none")
    return "cpu" if devices == "none" else devices


def text_sha256(text: str) -> str:
    """Return the hex digest of a text in UTF-8."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def variables_of(content: Content, folder: pathlib.Path, number: int) -> dict[str, str]:
    """Return the environment of generation ``number``, which identifies a running process's generation."""
    return {**content.variables, INSTANCE_VARIABLE: str(folder), GENERATION_VARIABLE: str(number)}
