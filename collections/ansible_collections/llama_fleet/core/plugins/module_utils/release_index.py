# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""index.json: what a folder of packed releases holds, so that one small file tells a host whether it fits."""

from __future__ import annotations

import dataclasses
import json
import re
import typing

INDEX = "index.json"
SUFFIX = ".tar.zst"
_FORMAT = 1
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclasses.dataclass(frozen=True)
class Entry:
    """One packed release. ``sha256`` and ``size`` are the archive's; ``packed`` is when, in seconds since 1970."""

    name: str
    sha256: str
    size: int
    fingerprint: str
    parts: typing.Mapping[str, typing.Any]
    signed: bool
    packed: int

    @property
    def file(self) -> str:
        return f"{self.name}{SUFFIX}"


def is_name(text: str) -> bool:
    """Whether a release may have this name, which becomes part of paths and URLs."""
    return _NAME.fullmatch(text) is not None


def render(entries: typing.Iterable[Entry]) -> dict[str, typing.Any]:
    """What goes into index.json."""
    return {"format": _FORMAT, "releases": {entry.name: _without_name(entry) for entry in entries}}


def _without_name(entry: Entry) -> dict[str, typing.Any]:
    return {name: value for name, value in dataclasses.asdict(entry).items() if name != "name"}


def parse(text: str) -> list[Entry]:
    """The entries, the newest first. Raises ValueError with a noun phrase that says what the text is instead."""
    try:
        document = json.loads(text)
    except ValueError:
        raise ValueError("a file that is not JSON") from None
    if not isinstance(document, dict) or not isinstance(document.get("releases"), dict):
        raise ValueError("JSON, but no index of packed releases")
    if document.get("format") != _FORMAT:
        raise ValueError(f"an index of format {document.get('format')!r}, where this version of llama-fleet reads {_FORMAT}")
    return sorted((_entry(name, value) for name, value in document["releases"].items()), key=lambda entry: (-entry.packed, entry.name))


def _entry(name: str, value: typing.Any) -> Entry:
    known = {"sha256": str, "size": int, "fingerprint": str, "parts": dict, "signed": bool, "packed": int}
    if not isinstance(value, dict) or not is_name(name) or any(not isinstance(value.get(key), kind) for key, kind in known.items()):
        raise ValueError(f"an index whose entry {name[:80]!r} is incomplete")
    if not _SHA256.fullmatch(value["sha256"]) or value["size"] <= 0:
        raise ValueError(f"an index whose entry {name[:80]!r} has no sha256 or size")
    return Entry(name, **{key: value[key] for key in known})
