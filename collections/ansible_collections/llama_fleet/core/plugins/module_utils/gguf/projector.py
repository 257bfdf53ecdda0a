# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Which projector file of a listing belongs to a model: the file that lets it see or hear."""

from __future__ import annotations

import posixpath
import re
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.quant import (
    Candidate,
    ListedFile,
    quant_of,
    size_text,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.shards import parse_shard
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError

VARIABLE = "gguf_model_mmproj"
_DEFAULTS = ("F16", "BF16")


def is_projector(path: str) -> bool:
    return path.lower().endswith(".gguf") and "mmproj" in _tokens(path)


def choose_projector(listing: typing.Iterable[ListedFile], model: Candidate, where: str) -> ListedFile:
    """The one projector of ``model``: of its own folder, else of the root; of its quant, else F16, else BF16, else the
    only one.

    Raises with all there are, and their sizes, where none or several could be meant.
    """
    everything = sorted((file for file in listing if is_projector(file.path)), key=lambda file: file.path)
    own = posixpath.dirname(model.path)
    near = [file for file in everything if posixpath.dirname(file.path) == own] or [
        file for file in everything if "/" not in file.path
    ]
    if not near:
        elsewhere = f" beside '{model.path}' (there is {_list(everything)})" if everything else ""
        raise ProblemError(
            Problem(
                VARIABLE,
                f"no projector in {where}{elsewhere}",
                "a repository with an mmproj file",
                "set it to false for a model without one",
            )
        )
    for quant in (model.quant, *_DEFAULTS):
        matching = [file for file in near if quant_of(file.path) == quant]
        if matching:
            return _only(matching, model, where)
    return _only(near, model, where)


def _only(files: list[ListedFile], model: Candidate, where: str) -> ListedFile:
    """The only file; of several the only one that is named after the model."""
    if len(files) == 1:
        return files[0]
    wanted = _tokens(model.path) - set(_split(model.quant))
    named = [file for file in files if wanted <= _tokens(file.path)]
    if len(named) == 1:
        return named[0]
    raise ProblemError(
        Problem(VARIABLE, f"{len(files)} projectors of {where} that could be meant: {_list(files)}", "one of them")
    )


def _tokens(path: str) -> set[str]:
    name = posixpath.basename(path)
    shard = parse_shard(name)
    return set(_split(shard.stem if shard else posixpath.splitext(name)[0]))


def _split(text: str) -> list[str]:
    return [token for token in re.split(r"[-._ ]", text.lower()) if token]


def _list(files: list[ListedFile]) -> str:
    return ", ".join(f"{file.path} ({size_text(file.size)})" for file in files[:40])
