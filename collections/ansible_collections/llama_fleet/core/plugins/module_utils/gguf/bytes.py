# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Recognize a GGUF file by its first bytes, and describe other content."""

from __future__ import annotations

import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError

if typing.TYPE_CHECKING:
    import pathlib

MAGIC = b"GGUF"


def require_gguf(first: bytes, where: str, variable: str) -> None:
    """Raise ProblemError unless ``first``, the first bytes of ``where``, begin a GGUF file."""
    if first.startswith(MAGIC):
        return
    raise ProblemError(Problem(variable, f"{_kind(first)} at {where}", "a GGUF file"))


def require_gguf_file(path: pathlib.Path, variable: str) -> None:
    """Raise ProblemError unless the file at ``path`` begins with GGUF's magic number."""
    try:
        with path.open("rb") as file:
            first = file.read(64)
    except OSError as error:
        raise ProblemError(
            Problem(variable, f"{path}, which cannot be read ({error.strerror})", "a GGUF file that this user can read")
        ) from error
    require_gguf(first, str(path), variable)


def _kind(first: bytes) -> str:
    if not first:
        return "an empty file"
    if first.lstrip().startswith(b"<"):
        return "an HTML or XML page (a login or error page, perhaps)"
    if b"version https://git-lfs.github.com/spec/"[: len(first)] == first[:40]:
        return "a Git LFS pointer instead of the file"
    if first.startswith(b"FUGG"):
        return "a big-endian GGUF file, which this host cannot use"
    return f"a file that begins with {first[:4]!r}"
