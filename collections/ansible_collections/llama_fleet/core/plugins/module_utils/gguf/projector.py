# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Choose the projector file (mmproj) that lets a model process images or audio."""

from __future__ import annotations

import posixpath
import re
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.files import Candidate, ListedFile, size_text
from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.quant import quant_of
from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.shards import parse_shard
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError

VARIABLE = "gguf_model_mmproj"
_DEFAULTS = ("F16", "BF16")


def is_projector(path: str) -> bool:
    """Return whether the file name is that of a projector."""
    return path.lower().endswith(".gguf") and "mmproj" in _tokens(path)


def choose_projector(listing: typing.Iterable[ListedFile], model: Candidate, where: str) -> ListedFile:
    """Return the projector of ``model``.

    Its own folder is searched first, then the root. The model's quant is preferred, then F16, then BF16, then a single
    file of another quant. Raises ProblemError with all projectors and their sizes if there is none or no single match.
    """
    everything = sorted((file for file in listing if is_projector(file.path)), key=lambda file: file.path)
    own = posixpath.dirname(model.path)
    near = [file for file in everything if posixpath.dirname(file.path) == own] or [
        file for file in everything if "/" not in file.path
    ]
    if not near:
        elsewhere = f" beside '{model.path}' (there is {_list(everything)})" if everything else ""
        none_there, fix = f"no projector in {where}{elsewhere}", "set it to false for a model without one"
        raise ProblemError(Problem(VARIABLE, none_there, "a repository with an mmproj file", fix))
    for quant in (model.quant, *_DEFAULTS):
        matching = [file for file in near if quant_of(file.path) == quant]
        if matching:
            return _only(matching, model, where)
    return _only(near, model, where)


def _only(files: list[ListedFile], model: Candidate, where: str) -> ListedFile:
    """Return the only file, or the only one of several that is named after the model."""
    if len(files) == 1:
        return files[0]
    wanted = _tokens(model.path) - set(_split(model.quant))
    named = [file for file in files if wanted <= _tokens(file.path)]
    if len(named) == 1:
        return named[0]
    several = f"{len(files)} projectors of {where} that could be meant: {_list(files)}"
    raise ProblemError(Problem(VARIABLE, several, "one of them"))


def _tokens(path: str) -> set[str]:
    name = posixpath.basename(path)
    shard = parse_shard(name)
    return set(_split(shard.stem if shard else posixpath.splitext(name)[0]))


def _split(text: str) -> list[str]:
    return [token for token in re.split(r"[-._ ]", text.lower()) if token]


def _list(files: list[ListedFile]) -> str:
    return ", ".join(f"{file.path} ({size_text(file.size)})" for file in files[:40])
