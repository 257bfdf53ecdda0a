# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Parse references that carry their own checksum: ``<reference>#sha256=<sum>``, as pip writes them."""

from __future__ import annotations

import dataclasses
import re

from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError

_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
_PACKAGE = re.compile(r"pypi:(?P<project>[A-Za-z0-9][A-Za-z0-9._-]*)==(?P<version>[A-Za-z0-9][A-Za-z0-9.!+_-]*)")


@dataclasses.dataclass(frozen=True)
class Pinned:
    """A reference without its fragment, and its SHA-256 (64 lower-case hex digits, or empty)."""

    reference: str
    sha256: str


@dataclasses.dataclass(frozen=True)
class Package:
    """A project on a package index at one exact version."""

    project: str
    version: str


def parse_pinned(text: str, variable: str) -> Pinned:
    """Split off the checksum. Raises ProblemError if the fragment is not a SHA-256."""
    reference, mark, fragment = text.partition("#")
    if not mark:
        return Pinned(reference, "")
    name, _equals, value = fragment.partition("=")
    if name != "sha256" or not _SHA256.fullmatch(value):
        raise ProblemError(Problem(variable, f"the fragment '#{fragment}'", "'#sha256=' and 64 hexadecimal digits"))
    return Pinned(reference, value.lower())


def parse_package(reference: str, variable: str) -> Package:
    """Parse ``pypi:project==version``. Raises ProblemError for anything else."""
    match = _PACKAGE.fullmatch(reference)
    if match is None:
        raise ProblemError(Problem(variable, f"'{reference}'", "'pypi:<project>==<version>', with one exact version"))
    return Package(match["project"], match["version"])
