# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Parse the file names of a split model as llama.cpp writes them: ``name-00001-of-00003.gguf``."""

from __future__ import annotations

import dataclasses
import re

_SHARD = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})(?P<suffix>\.gguf)", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Shard:
    """The parsed name of one file of a split model."""

    stem: str
    number: int
    count: int
    suffix: str

    def name(self, number: int) -> str:
        return f"{self.stem}-{number:05d}-of-{self.count:05d}{self.suffix}"

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of all files of the model, in order."""
        return tuple(self.name(number) for number in range(1, self.count + 1))


def parse_shard(name: str) -> Shard | None:
    """Parse a name such as ``a-00001-of-00003.gguf``; return None for the name of an unsplit model."""
    match = _SHARD.fullmatch(name)
    if match is None or not 1 <= int(match["number"]) <= int(match["count"]):
        return None
    return Shard(match["stem"], int(match["number"]), int(match["count"]), match["suffix"])
