# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Read and write index.json, which lists the packed releases of a folder, so that hosts need not open them."""

from __future__ import annotations

import dataclasses
import re
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils import untrusted
from ansible_collections.llama_fleet.core.plugins.module_utils.plain_text import line
from ansible_collections.llama_fleet.core.plugins.module_utils.untrusted import (
    NAME,
    SHA256,
    Flag,
    Number,
    Plain,
    Record,
    ShapeError,
    Table,
    Text,
    Word,
    check,
)

INDEX = "index.json"
SUFFIX = ".tar.gz"
ZSTD_SUFFIX = ".tar.zst"  # of archives packed before gzip; an index of that time does not name it
SUFFIXES = (SUFFIX, ZSTD_SUFFIX)
_FORMAT = 1
_NAME = re.compile(NAME)
LONGEST = 4 << 20  # bytes
_ENTRIES = Table(
    Record(
        {
            "sha256": Text(SHA256),
            "size": Number(1),
            "fingerprint": Text(NAME),
            "parts": Record(optional={"cmake_options": Table(Word(), keys=Word(200))}, others=Plain(4)),
            "signed": Flag(),
            "packed": Number(),
        },
        optional={"suffix": Text("|".join(map(re.escape, SUFFIXES)))},
    ),
    keys=Text(NAME),
)


@dataclasses.dataclass(frozen=True)
class Entry:
    """One packed release.

    ``sha256`` and ``size`` (bytes) are those of the archive; ``packed`` is the time in seconds since 1970.
    ``suffix`` is the end of the archive's name.
    """

    name: str
    sha256: str
    size: int
    fingerprint: str
    parts: typing.Mapping[str, typing.Any]
    signed: bool
    packed: int
    suffix: str = SUFFIX

    @property
    def file(self) -> str:
        return f"{self.name}{self.suffix}"


def is_name(text: str) -> bool:
    """Return whether a release may have this name, which becomes part of paths and URLs."""
    return _NAME.fullmatch(text) is not None


def without_suffix(file: str) -> str:
    """Return the name of the release that an archive's file name gives; empty without a suffix of an archive."""
    return next((file[: -len(suffix)] for suffix in SUFFIXES if file.endswith(suffix)), "")


def render(entries: typing.Iterable[Entry]) -> dict[str, typing.Any]:
    """Return the content of index.json."""
    return {"format": _FORMAT, "releases": {entry.name: _without_name(entry) for entry in entries}}


def _without_name(entry: Entry) -> dict[str, typing.Any]:
    return {name: value for name, value in dataclasses.asdict(entry).items() if name != "name"}


def parse(text: str) -> list[Entry]:
    """Return the entries, newest first.

    Raises ValueError with a noun phrase that describes the invalid text.
    """
    try:
        document = untrusted.parse(text, _anything, "it", LONGEST)
    except ShapeError:
        raise ValueError("a file that is not JSON") from None
    if not isinstance(document, dict) or not isinstance(document.get("releases"), dict):
        raise ValueError("JSON, but no index of packed releases")
    if document.get("format") != _FORMAT:
        raise ValueError(
            f"an index of format {line(repr(document.get('format')), 40)}, where this version of llama-fleet reads "
            f"{_FORMAT}"
        )
    try:
        releases = check(document["releases"], _ENTRIES, "releases")
    except ShapeError as error:
        raise ValueError(f"an index in which {error}") from None
    return sorted(
        (Entry(name, **{"suffix": ZSTD_SUFFIX, **value}) for name, value in releases.items()),
        key=lambda entry: (-entry.packed, entry.name),
    )


def _anything(value: object, _where: str) -> object:
    return value
