# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Choose the model of a listing by a label, a path or the default order, and check by its header that it is one."""

from __future__ import annotations

import dataclasses
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.files import (
    DESCRIPTIONS,
    MATRIX,
    MODEL,
    Candidate,
    ListedFile,
    candidates,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.names import Index, first_ranked
from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.quant import DEFAULTS, VARIABLE
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError

# Returns what the header of a candidate says that it is, or an empty string if it cannot be read.
KindOf = typing.Callable[[Candidate], str]

SOURCE = "gguf_model_source"
_MOST_HEADERS = 8  # that are read for one choice
_MOST_LISTED = 400  # models in one message


def by_name(_candidate: Candidate) -> str:
    """Return no kind, so that the name and size decide."""
    return ""


def choose(
    listing: typing.Iterable[ListedFile], wanted: str, where: str, subject: str = VARIABLE, kind_of: KindOf = by_name
) -> Candidate:
    """Return the model of ``listing`` that ``wanted`` selects: a label, a path, or empty for the default order.

    Raises ProblemError with the labels of all models if none or several match, or if the header of the chosen file says
    that it is no model. ``where`` names the listing there. At most ``_MOST_HEADERS`` headers are read.
    """
    listed = candidates(listing)
    kind = MODEL
    for left in range(_MOST_HEADERS, 0, -1):
        chooser = _Chooser(listed, where, subject)
        doubtful = [each for each in chooser.meant(wanted) if each.doubtful]
        if len(doubtful) > 1:
            listed = settled(listed, kind_of, doubtful, left)
            continue
        chosen = chooser.choose(wanted)
        kind = kind_of(chosen) or _guess(chosen, listed)
        if kind == MODEL:
            return chosen
        if not chosen.doubtful:
            break
        listed = [_settled(each, kind) if each.files == chosen.files else each for each in listed]
        if all(each.kind != MODEL and not each.doubtful for each in listed):
            break
    raise ProblemError(not_a_model(chosen, kind, where))


def _guess(chosen: Candidate, others: typing.Iterable[Candidate]) -> str:
    """Return the kind of a candidate whose header is unknown: of a doubtful one, that which its name hints at."""
    has_models = any(each.kind == MODEL for each in others)
    return chosen.kind if chosen.doubtful and chosen.kind != MATRIX and has_models else MODEL


def settled(
    listed: typing.Sequence[Candidate], kind_of: KindOf, doubtful: typing.Sequence[Candidate] = (), most: int = 0
) -> list[Candidate]:
    """Return the candidates, each of the ``doubtful`` ones (by default all) with the kind in its header.

    Reads at most ``most`` headers; beyond it, and if a header cannot be read, the name decides.
    """
    doubtful = doubtful or [each for each in listed if each.doubtful]
    read = {each.path: kind_of(each) for each in doubtful[: most or _MOST_HEADERS]}
    kinds = {each.path: read.get(each.path) or _guess(each, listed) for each in doubtful}
    return [_settled(each, kinds[each.path]) if each.path in kinds else each for each in listed]


def require_model(candidate: Candidate, kind: str, where: str) -> None:
    """Raise ProblemError if ``kind``, which its header says or is empty, is not that of a model."""
    if kind not in ("", MODEL):
        raise ProblemError(not_a_model(candidate, kind, where))


def not_a_model(candidate: Candidate, kind: str, where: str) -> Problem:
    """Return the problem of a companion that was given as the model."""
    fix = f"name the model that it belongs to, and this file in {_OPTIONS[kind]}" if kind in _OPTIONS else ""
    return Problem(SOURCE, f"'{candidate.path}' in {where}, {DESCRIPTIONS[kind]} by its header", "a model", fix)


_OPTIONS = {"mmproj": "gguf_model_mmproj", "adapter": "gguf_model_lora", "draft": "gguf_model_draft"}


def _settled(candidate: Candidate, kind: str) -> Candidate:
    return dataclasses.replace(candidate, kind=kind, doubtful=False)


class _Chooser:
    """The models of a listing, and those that can be chosen by default."""

    def __init__(self, listed: typing.Sequence[Candidate], where: str, subject: str) -> None:
        self._index = Index(listed)
        self._where = where
        self._subject = subject
        self._models = [each for each in listed if each.kind == MODEL] or [each for each in listed if each.doubtful]
        self._doubtful = [each for each in listed if each.kind == MODEL or each.doubtful]
        if not self._doubtful and not listed:
            wanted = "a repository, wheel or folder with '.gguf' files"
            raise ProblemError(Problem(SOURCE, f"no GGUF model in {where}", wanted))

    def meant(self, wanted: str) -> list[Candidate]:
        """Return the candidates that ``wanted`` means, or the default ones. Raises ProblemError."""
        return self._index.find(wanted) if wanted else self._default()

    def choose(self, wanted: str) -> Candidate:
        """Return the candidate that is meant, with its label. Raises ProblemError."""
        matching = self.meant(wanted)
        if not matching:
            raise self._problem(f"'{wanted}', which is not in {self._where}", "one of: ", self._doubtful)
        if len(matching) > 1:
            text = f"{len(matching)} models of {self._where} that could be meant: {self._list(matching)}"
            fix = f"give its label there, such as '{self._index.label(matching[0])}'"
            raise ProblemError(Problem(self._subject, text, "one of them", fix))
        return self._complete(dataclasses.replace(matching[0], label=self._index.label(matching[0])))

    def _default(self) -> list[Candidate]:
        """Return the models of the first default quant there is, or the only one. Raises ProblemError."""
        if not self._models:
            wanted = "a repository, wheel or folder with '.gguf' files"
            raise ProblemError(Problem(SOURCE, f"no GGUF model in {self._where}", wanted))
        for quant in DEFAULTS:
            if any(each.quant == quant for each in self._doubtful):
                matching = [each for each in self._index.find(quant) if each in self._doubtful]
                if matching:
                    return matching
        quants = {each.quant for each in self._models}
        if len(quants) == 1:
            quant = quants.pop()
            matching = [each for each in self._index.find(quant) if each in self._models] if quant else []
            return matching or first_ranked([each for each in self._models if not each.missing] or self._models)
        text = f"no quant given, and in {self._where} neither {' nor '.join(DEFAULTS)} nor a single one"
        raise self._problem(text, "one of: ", self._models)

    def _complete(self, candidate: Candidate) -> Candidate:
        """Return the candidate. Raises ProblemError if shards of it are missing."""
        if not candidate.missing:
            return candidate
        total = len(candidate.files) + len(candidate.missing)
        shards = f"{len(candidate.files)} of {total} shards of {candidate.label}"
        others = [each for each in self._models if not each.missing]
        shards_there = f"{shards} in {self._where}, without {', '.join(candidate.missing[:5])}"
        raise self._problem(shards_there, "all of them, or one of: " if others else "all of them", others)

    def _problem(self, found: str, wanted: str, models: typing.Sequence[Candidate]) -> ProblemError:
        return ProblemError(Problem(self._subject, found, wanted + self._list(models)))

    def _list(self, models: typing.Sequence[Candidate]) -> str:
        """List models with the labels that mean them."""
        paths = {each.path for each in models}
        labelled = [each for each in self._index.labelled() if each.path in paths]
        more = f" and {len(labelled) - _MOST_LISTED} more" if len(labelled) > _MOST_LISTED else ""
        return ", ".join(map(str, labelled[:_MOST_LISTED])) + more
