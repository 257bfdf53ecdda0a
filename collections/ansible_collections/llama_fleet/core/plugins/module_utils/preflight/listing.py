# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Parse the files of a repository as the Hub lists them, for hosts that ask without its client."""

from __future__ import annotations

import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.files import ListedFile
from ansible_collections.llama_fleet.core.plugins.module_utils.preflight.web import LARGEST
from ansible_collections.llama_fleet.core.plugins.module_utils.untrusted import (
    Inside,
    Many,
    Maybe,
    Number,
    Record,
    Text,
    check,
    parse,
)

_MOST = 100_000
_SIZE = Maybe(Number(most=1 << 50), 0)
_PATH = Text(most=1 << 16)
_ENTRIES = Many(Record({"type": Text(), "path": _PATH}, {"size": _SIZE}), most=_MOST)
# What the Hub tells of a repository as a whole; a cache may know no other listing.
_ABOUT = Record({"siblings": Many(Record({"rfilename": _PATH}, {"size": _SIZE}), most=_MOST)})


def parse_listing(text: bytes) -> tuple[list[ListedFile], int]:
    """Return the GGUF files, with the size 0 where none is stated, and the number of entries. Raises ShapeError.

    The entries of a repository's description are not counted, because there are no further pages.
    """
    if text.lstrip().startswith(b"{"):
        siblings = parse(text, _ABOUT, "the repository", LARGEST)["siblings"]
        return _models((each["rfilename"], each.get("size")) for each in siblings), 0
    entries = parse(text, _ENTRIES, "the listing", LARGEST)
    return _models((each["path"], each.get("size")) for each in entries if each["type"] == "file"), len(entries)


def _models(files: typing.Iterable[tuple[str, int | None]]) -> list[ListedFile]:
    return [
        ListedFile(check(path, Inside(), "a file's name"), size or 0)
        for path, size in files
        if path.lower().endswith(".gguf")
    ]
