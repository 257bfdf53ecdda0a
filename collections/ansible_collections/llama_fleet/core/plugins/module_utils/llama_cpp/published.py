# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Hold the answer of the release API of llama.cpp's project. plugin_utils/release_api.py asks it on the controller."""

from __future__ import annotations

import dataclasses
import json
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.untrusted import (
    COMMIT,
    SHA256,
    Record,
    ShapeError,
    Table,
    Text,
    parse,
)

API = "https://api.github.com/repos/ggml-org/llama.cpp"
VARIABLE = "llama_cpp_upstream_api"

TAG = r"b[0-9]{1,9}"
ARCHIVE = r"(?:cudart-)?llama-b[0-9]{1,9}-bin-ubuntu-[a-z0-9][a-z0-9.-]{0,60}\.tar\.gz"
VERSION = r"v[0-9]{1,6}\.[0-9]{1,6}\.[0-9]{1,6}"
_PUBLISHED = Record(
    {
        "tag": Text(TAG),
        "commit": Text(COMMIT),
        "stable": Text(rf"|{VERSION}"),
        "sums": Table(Text(SHA256), keys=Text(ARCHIVE, most=200), most=100),
    }
)


@dataclasses.dataclass(frozen=True)
class Published:
    """The published binaries of a nightly build, with the SHA-256 of each archive for Linux by its name.

    ``stable`` is the stable version (``v0.8.0``) that was asked for, or empty.
    """

    tag: str
    commit: str
    stable: str
    sums: typing.Mapping[str, str]

    @property
    def build(self) -> str:
        """Return the name of the release's build: the stable version if it was asked for, else the nightly tag."""
        return self.stable or self.tag

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), sort_keys=True)


def parse_published(text: str) -> Published:
    """Return what ``Published.to_json`` has written. Raises ProblemError."""
    try:
        return Published(**parse(text, _PUBLISHED, "the published release"))
    except ShapeError as error:
        raise ProblemError(Problem("published", str(error), "a published release", "run again")) from error
