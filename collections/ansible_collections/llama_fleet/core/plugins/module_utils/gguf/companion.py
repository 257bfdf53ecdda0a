# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Choose a companion of a model: its projector for images or audio, a LoRA adapter or a draft head."""

from __future__ import annotations

import dataclasses
import posixpath
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.choice import KindOf, by_name
from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.files import (
    ADAPTER,
    DESCRIPTIONS,
    DRAFT,
    MODEL,
    PROJECTOR,
    Candidate,
    ListedFile,
    candidates,
    hint,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.names import Index
from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.quant import stem_of, words_of
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError

VARIABLE = "gguf_model_mmproj"
VARIABLES = {PROJECTOR: VARIABLE, ADAPTER: "gguf_model_lora", DRAFT: "gguf_model_draft"}
ANY = "true"  # wanted without a label
_DEFAULTS = ("F16", "BF16")
_MOST_HEADERS = 8
_MOST_LISTED = 100


def is_projector(path: str) -> bool:
    """Return whether the file name is that of a projector."""
    return path.lower().endswith(".gguf") and hint(path) == PROJECTOR


def choose_projector(
    listing: typing.Iterable[ListedFile], model: Candidate, where: str, wanted: str = ANY, kind_of: KindOf = by_name
) -> ListedFile:
    """Return the projector of ``model``: the one that a label or path means, else the nearest one.

    Its own folder is searched first, then the root. The model's quant is preferred, then F16, then BF16, then a single
    file of another quant. Raises ProblemError with all projectors and their sizes if there is none or no single match.
    """
    everything = [each for each in candidates(listing) if each.path != model.path]
    if wanted != ANY:
        return choose_companion(PROJECTOR, everything, wanted, where, kind_of).files[0]
    named = _of_kind(PROJECTOR, everything, kind_of)
    own = posixpath.dirname(model.path)
    near = [each for each in named if posixpath.dirname(each.path) == own] or [
        each for each in named if "/" not in each.path
    ]
    if not near:
        elsewhere = f" beside '{model.path}' (there is {_list(_index(named).labelled())})" if named else ""
        absent, fix = f"no projector in {where}{elsewhere}", "set it to false for a model without one"
        raise ProblemError(Problem(VARIABLE, absent, "a repository with an mmproj file", fix))
    for quant in (model.quant, *_DEFAULTS):
        matching = [each for each in near if each.quant == quant]
        if matching:
            near = matching
            break
    chosen = _only(near, model, where)
    require_companion(chosen, PROJECTOR, kind_of(chosen), where)
    return chosen.files[0]


def choose_companion(
    kind: str, everything: typing.Sequence[Candidate], wanted: str, where: str, kind_of: KindOf = by_name
) -> Candidate:
    """Return the companion of ``kind`` that a label or path means; with ANY, the only one.

    Raises ProblemError with all companions of that kind if none or several match, or if the header says otherwise.
    """
    named = _of_kind(kind, everything, kind_of)
    index = _index(named)
    meant = (list(index.candidates) if wanted == ANY else index.find(wanted)) or Index(everything).find(wanted)
    if len(meant) != 1:
        text = f"'{wanted}', which means {len(meant) or 'none'} of the files in {where}"
        listed = _list(index.labelled()) or f"a file that is {DESCRIPTIONS[kind]}"
        raise ProblemError(Problem(VARIABLES[kind], text, f"one of: {listed}"))
    chosen = meant[0]
    if chosen.missing:
        text = f"'{chosen.path}' in {where}, without {', '.join(chosen.missing[:5])}"
        raise ProblemError(Problem(VARIABLES[kind], text, "all of its shards"))
    require_companion(chosen, kind, kind_of(chosen), where)
    return chosen


def require_companion(candidate: Candidate, kind: str, actual: str, where: str) -> None:
    """Raise ProblemError unless ``actual``, what its header says or empty, fits the wanted ``kind``."""
    # Any small model of the same vocabulary can draft.
    if actual and actual != kind and not (kind == DRAFT and actual == MODEL):
        other = f"'{candidate.path}' in {where}, {DESCRIPTIONS[actual]} by its header"
        raise ProblemError(Problem(VARIABLES[kind], other, DESCRIPTIONS[kind]))


def _of_kind(kind: str, everything: typing.Sequence[Candidate], kind_of: KindOf) -> list[Candidate]:
    """Return the companions whose names hint at ``kind``, else those whose headers say so, the smallest files first."""
    named = [each for each in everything if each.kind == kind]
    if named:
        return named
    small = sorted((each for each in everything if not each.missing), key=lambda each: (each.size, each.path))
    return [each for each in small[:_MOST_HEADERS] if kind_of(each) == kind]


def _only(files: list[Candidate], model: Candidate, where: str) -> Candidate:
    """Return the only file, or the only one of several that is named after the model."""
    if len(files) == 1:
        return files[0]
    wanted = _words(model) - {model.quant.lower()}
    named = [each for each in files if wanted <= _words(each)]
    if len(named) == 1:
        return named[0]
    several = f"{len(files)} projectors of {where} that could be meant: {_list(_index(files).labelled())}"
    raise ProblemError(Problem(VARIABLE, several, "one of them", "give its name there"))


def _index(companions: typing.Iterable[Candidate]) -> Index:
    """Return the labels of companions of one kind, which need not say the kind."""
    return Index([dataclasses.replace(each, kind=MODEL, doubtful=False) for each in companions])


def _words(candidate: Candidate) -> set[str]:
    return {word.key for word in words_of(stem_of(candidate.path))}


def _list(files: typing.Sequence[Candidate]) -> str:
    return ", ".join(str(each) for each in files[:_MOST_LISTED])
