# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Join the GGUF files of a listing into models and companions, and guess by name and size which is what."""

from __future__ import annotations

import dataclasses
import posixpath
import re
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.quant import quant_of, stem_of, words_of
from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.shards import parse_shard

MODEL, PROJECTOR, ADAPTER, DRAFT = "model", "mmproj", "adapter", "draft"
MATRIX, VOCABULARY = "imatrix", "vocabulary"
DESCRIPTIONS = {
    MODEL: "a model",
    PROJECTOR: "a projector for images or audio",
    ADAPTER: "a LoRA adapter",
    DRAFT: "a draft head for speculative decoding",
    MATRIX: "an importance matrix",
    VOCABULARY: "a vocabulary without weights",
}
_HINTS = {
    PROJECTOR: re.compile(r"mmproj"),
    MATRIX: re.compile(r"imatrix"),
    ADAPTER: re.compile(r"q?lora|adapter"),
    DRAFT: re.compile(r"mtp|nextn|eagle\d*|dflash|dspark|medusa|speculator|draft(?:er)?|assistant"),
}
_JOINED_BY_HAND = re.compile(r"(?:^|[-._ ])(?:part[-._ ]?)?\d+[-._ ]?of[-._ ]?\d+$", re.IGNORECASE)
# A companion is smaller than this part of the smallest model beside it. A larger file may be a model in spite of its
# name, and its header decides.
_SMALL = 20
_LONGEST_LABEL = 100  # characters of one that results show


@dataclasses.dataclass(frozen=True)
class ListedFile:
    """A file of a repository, wheel or folder; ``path`` is relative to it, ``size`` is in bytes."""

    path: str
    size: int


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A model or companion of a listing, with its files in order. ``quant`` is empty if its name has no known one.

    ``kind`` is a guess by name and size, and ``doubtful`` if only the header can tell. ``label`` is what the user may
    call it.
    """

    quant: str
    files: tuple[ListedFile, ...]
    missing: tuple[str, ...] = ()
    kind: str = MODEL
    doubtful: bool = False
    label: str = ""

    @property
    def path(self) -> str:
        return self.files[0].path

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)

    @property
    def called(self) -> str:
        """Return the label, or the known quant if the label is a path or only the name of the model itself."""
        is_name = not self.quant and self.label.lower() == stem_of(self.path).lower()
        return (
            self.quant if is_name or "/" in self.label or len(self.label) > _LONGEST_LABEL else self.label or self.quant
        )

    @property
    def draft(self) -> bool:
        """Return whether it is a companion, which is a model only if the listing has nothing else."""
        return self.kind != MODEL

    @property
    def rank(self) -> tuple[bool, bool]:
        """Return the sort key among models of one label: the root before subfolders, single files before shards."""
        return "/" in self.path, parse_shard(posixpath.basename(self.path)) is not None

    def __str__(self) -> str:
        shards = f" and {len(self.files) - 1} more" if len(self.files) > 1 else ""
        lacking = ", incomplete" if self.missing else ""
        return f"{self.label or self.quant or self.path} ({self.path}{shards}, {size_text(self.size)}{lacking})"


def size_text(size: int) -> str:
    """Format a size in bytes: ``98362432`` -> ``98.4 MB``."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def candidates(listing: typing.Iterable[ListedFile]) -> list[Candidate]:
    """List all models and companions of ``listing`` by path, including those with missing shards."""
    joined: list[Candidate] = []
    split: dict[str, dict[int, ListedFile]] = {}
    for file in sorted(listing, key=lambda file: file.path):
        if not _is_gguf(file.path):
            continue
        folder, name = posixpath.split(file.path)
        shard = parse_shard(name)
        if shard is None:
            joined.append(_candidate(file.path, (file,)))
        else:
            split.setdefault(posixpath.join(folder, shard.name(1)), {}).setdefault(shard.number, file)
    joined += [_joined(first, files) for first, files in split.items()]
    return _weighed(sorted(joined, key=lambda candidate: candidate.path))


def _is_gguf(path: str) -> bool:
    """Return whether the name is that of a GGUF file that llama.cpp can load, by itself or with its other shards."""
    if not path.lower().endswith(".gguf") or any(name.startswith(".") for name in path.split("/")):
        return False
    stem = stem_of(path)
    return bool(words_of(stem)) and not _JOINED_BY_HAND.search(stem)


def _joined(first: str, files: typing.Mapping[int, ListedFile]) -> Candidate:
    """Join shards by their numbers, because their names may differ in the case of ``-of-``."""
    folder, name = posixpath.split(first)
    shard = parse_shard(name)
    numbers = range(1, shard.count + 1) if shard else ()
    missing = tuple(posixpath.join(folder, shard.name(number)) for number in numbers if shard and number not in files)
    return _candidate(first, tuple(files[number] for number in sorted(files)), missing)


def _candidate(path: str, files: tuple[ListedFile, ...], missing: tuple[str, ...] = ()) -> Candidate:
    return Candidate(quant_of(path), files, missing, hint(path))


def hint(path: str) -> str:
    """Return the kind that a word of the file's or a folder's name hints at; without one, a model."""
    words = words_of(stem_of(path))
    folders = posixpath.dirname(path).lower().split("/")
    for kind in _HINTS:
        at = next((index for index, word in enumerate(words) if hints_at(kind, word.key)), None)
        if at is not None:
            # "Foo-imatrix-Q8_0" is a model that was made with a matrix.
            made = kind == MATRIX and at and any(word.quant for word in words[at:])
            return MODEL if made else kind
        if any(hints_at(kind, folder) for folder in folders):
            return kind
    return MODEL


def hints_at(kind: str, word: str) -> bool:
    """Return whether a word in lower case is one that authors put into the names of such files."""
    return kind in _HINTS and _HINTS[kind].fullmatch(word) is not None


def _weighed(joined: list[Candidate]) -> list[Candidate]:
    """Mark those as doubtful that a word calls a companion, but whose size is that of a model."""
    models = [each.size for each in joined if each.kind == MODEL and not each.missing]
    smallest = min(models, default=0)

    def is_doubtful(each: Candidate) -> bool:
        if each.kind == PROJECTOR:  # as large as a small model, and no author calls a model so
            return False
        if each.kind == MATRIX and not each.quant:
            return False
        return each.kind != MODEL and each.size * _SMALL >= smallest

    return [dataclasses.replace(each, doubtful=True) if is_doubtful(each) else each for each in joined]
