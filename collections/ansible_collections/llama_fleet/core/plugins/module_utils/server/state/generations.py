# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""One numbered state of an instance: what it is made of, and how it lies on disk."""

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
        return text_sha256("\n".join(self.api_keys)) if self.api_keys else ""

    def described(self) -> dict[str, typing.Any]:
        """The content as JSON, without the keys themselves."""
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
        """Over what runs.

        An option that changes nothing of it, such as a number of threads that was taken anyway, makes no new
        generation.
        """
        runs = {name: value for name, value in self.described().items() if name != "options"}
        return text_sha256(json.dumps(runs, sort_keys=True))


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
        unit = str(self.manifest.get("unit_sha256", ""))
        units = {"unit": unit} if unit not in ("", text_sha256("")) else {}
        return {"environment": text_sha256(environment_file(self.variables)), **units}

    def damage(self) -> list[str]:
        """Names of its files that are not as they were written."""
        damaged = [name for name, sha256 in sorted(self.files.items()) if text_sha256(self.text(name)) != sha256]
        keys = self.manifest.get("api_key_sha256", "")
        return damaged + ([KEY_FILE] if keys and text_sha256(self.text(KEY_FILE).removesuffix("\n")) != keys else [])


def target_of(generation: Generation) -> str:
    """Return what the link to the current generation holds where that is this one."""
    return f"generations/{generation.number}"


def device_of(variables: typing.Mapping[str, str]) -> str:
    """The devices that a server with this environment computes on, ``cpu`` or such as ``CUDA0``."""
    devices = variables.get("LLAMA_ARG_DEVICE", "none")
    return "cpu" if devices == "none" else devices


def text_sha256(text: str) -> str:
    """Return the hex digest of a text in UTF-8."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def variables_of(content: Content, folder: pathlib.Path, number: int) -> dict[str, str]:
    """The environment of generation ``number``: it tells a running process's generation for sure."""
    return {**content.variables, INSTANCE_VARIABLE: str(folder), GENERATION_VARIABLE: str(number)}
