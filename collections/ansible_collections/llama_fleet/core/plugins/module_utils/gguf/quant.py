# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Select the files of a listing by quant. Whole tokens of a file name are compared, never substrings."""

from __future__ import annotations

import dataclasses
import posixpath
import re
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.shards import parse_shard
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError

VARIABLE = "gguf_model_quant"
DEFAULTS = ("Q4_K_M", "Q8_0")

_LABEL = re.compile(
    r"BF16|FP?16|FP?32|F64|MXFP4(?:_MOE)?|NVFP4|TQ[12]_0|I2_S"
    r"|Q[1-8]_[01](?:_[48]_[48]|_X?L)?"
    r"|Q[1-8]_K(?:_(?:XXS|XS|S|M|L|XL|XXL|P)|_R\d)?"
    r"|IQ[1-6]_(?:XXS|XS|S|M|L|NL|XL|K|KS|KSS|KL|KT)(?:_XL|_R\d)?",
    re.IGNORECASE,
)
_ALIASES = {"FP16": "F16", "FP32": "F32"}
# Helper models, such as drafts and adapters: chosen only if the listing has nothing else.
_DRAFT = re.compile(r"mtp|nextn|eagle\d*|dflash|medusa|speculator|draft(?:er)?|lora|adapter", re.IGNORECASE)
_PIECE = re.compile(r"(?:^|[-._ ])(?:part[-._ ]?)?\d+[-._ ]?of[-._ ]?\d+$", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class ListedFile:
    """A file of a repository, wheel or folder; ``path`` is relative to it, ``size`` is in bytes."""

    path: str
    size: int


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A complete model of a listing, with its files in order. ``quant`` is empty if the name has none."""

    quant: str
    files: tuple[ListedFile, ...]
    missing: tuple[str, ...] = ()
    draft: bool = False

    @property
    def path(self) -> str:
        return self.files[0].path

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)

    @property
    def rank(self) -> tuple[bool, bool]:
        """Return the sort key among models of one quant: the root before subfolders, single files before shards."""
        return "/" in self.path, parse_shard(posixpath.basename(self.path)) is not None

    def __str__(self) -> str:
        shards = f" and {len(self.files) - 1} more" if len(self.files) > 1 else ""
        lacking = ", incomplete" if self.missing else ""
        return f"{self.quant or 'no quant'} ({self.path}{shards}, {size_text(self.size)}{lacking})"


def size_text(size: int) -> str:
    """Format a size in bytes: ``98362432`` -> ``98.4 MB``."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def label(text: str) -> str:
    """Return the canonical label of a quant (``q4_k_m`` -> ``Q4_K_M``, ``ud-…`` -> ``UD-…``), or an empty string."""
    prefix, rest = ("UD-", text[3:]) if text[:3].upper() == "UD-" else ("", text)
    if not _LABEL.fullmatch(rest):
        return ""
    return prefix + _ALIASES.get(rest.upper(), rest.upper())


def quant_of(path: str) -> str:
    """Return the quant in a file's name (its last token that is one), else in its folder's name, else empty."""
    return _last_label(_stem(path)) or _last_label(posixpath.basename(posixpath.dirname(path)))


def _stem(path: str) -> str:
    """Return the file's name without shard number and extension."""
    name = posixpath.basename(path)
    shard = parse_shard(name)
    return shard.stem if shard else posixpath.splitext(name)[0]


def _last_label(stem: str) -> str:
    """Return the last quant label in a name, or an empty string."""
    tokens = re.split(r"[-. ]", stem)
    for index in range(len(tokens) - 1, -1, -1):
        # A label may contain underscores, so every tail of a token is tried, the longest first.
        parts = tokens[index].split("_")
        for start in range(len(parts)):
            matched = label("_".join(parts[start:]))
            if matched:
                before = parts[start - 1] if start else tokens[index - 1].split("_")[-1] if index else ""
                return f"UD-{matched}" if before.upper() == "UD" else matched
    return ""


def _tokens(text: str) -> list[str]:
    return [token for token in re.split(r"[-._ ]", text.lower()) if token]


def _is_model(path: str) -> bool:
    """Return whether the name is that of a GGUF model, not of a projector, matrix or piece llama.cpp cannot join."""
    if not path.lower().endswith(".gguf") or any(name.startswith(".") for name in path.split("/")):
        return False
    stem = _stem(path)
    tokens = _tokens(stem)
    if not tokens or _PIECE.search(stem) or _is_matrix(stem):
        return False
    return "mmproj" not in tokens and "mmproj" not in posixpath.dirname(path).lower().split("/")


def _is_matrix(stem: str) -> bool:
    """Return whether the file is an importance matrix. ``Foo-imatrix-Q8_0`` is a model made with one."""
    before, word, after = stem.lower().rpartition("imatrix")
    return bool(word) and (not _tokens(before) or not _last_label(after))


def candidates(listing: typing.Iterable[ListedFile]) -> list[Candidate]:
    """List all models of ``listing`` by path, including those with missing shards."""
    models: list[Candidate] = []
    split: dict[str, dict[int, ListedFile]] = {}
    for file in sorted(listing, key=lambda file: file.path):
        if not _is_model(file.path):
            continue
        folder, name = posixpath.split(file.path)
        shard = parse_shard(name)
        if shard is None:
            models.append(Candidate(quant_of(file.path), (file,), draft=_is_draft(file.path)))
        else:
            split.setdefault(posixpath.join(folder, shard.name(1)), {}).setdefault(shard.number, file)
    models += [_joined(first, files) for first, files in split.items()]
    return sorted(models, key=lambda candidate: candidate.path)


def _joined(first: str, files: typing.Mapping[int, ListedFile]) -> Candidate:
    """Join shards by their numbers, because their names may differ in the case of ``-of-``."""
    folder, name = posixpath.split(first)
    shard = parse_shard(name)
    numbers = range(1, shard.count + 1) if shard else ()
    missing = tuple(posixpath.join(folder, shard.name(number)) for number in numbers if shard and number not in files)
    return Candidate(quant_of(first), tuple(files[number] for number in sorted(files)), missing, _is_draft(first))


def _is_draft(path: str) -> bool:
    folders = posixpath.dirname(path).split("/")
    return any(_DRAFT.fullmatch(word) for word in (*folders, *_tokens(_stem(path))))


def choose(listing: typing.Iterable[ListedFile], wanted: str, where: str, subject: str = VARIABLE) -> Candidate:
    """Return the model of ``listing`` that ``wanted`` selects: a quant, a path, or empty for the default order.

    Raises ProblemError with all models and their sizes if none or several match. ``where`` names the listing there.
    """
    everything = candidates(listing)
    models = [candidate for candidate in everything if not candidate.draft] or everything
    if not models:
        wanted_listing = "a repository, wheel or folder with '.gguf' files"
        raise ProblemError(Problem("gguf_model_source", f"no GGUF model in {where}", wanted_listing))
    if not wanted:
        return _complete(_default(models, where, subject), models, where, subject)
    named = [candidate for candidate in everything if wanted in [file.path for file in candidate.files]]
    quant = label(wanted)
    matching = named or [candidate for candidate in models if quant and candidate.quant == quant]
    if not matching:
        raise ProblemError(Problem(subject, f"'{wanted}', which is not in {where}", f"one of: {_list(models)}"))
    return _complete(_best(matching, where, subject), models, where, subject)


def _default(models: list[Candidate], where: str, subject: str) -> Candidate:
    """Return the model of the first default quant there is, or of the only quant. Raises ProblemError."""
    for quant in DEFAULTS:
        matching = [candidate for candidate in models if candidate.quant == quant]
        if matching:
            return _best(matching, where, subject)
    if len({candidate.quant for candidate in models}) == 1:
        return _best(models, where, subject)
    found = f"no quant given, and in {where} neither {' nor '.join(DEFAULTS)} nor a single one"
    raise ProblemError(Problem(subject, found, f"one of: {_list(models)}"))


def _best(matching: list[Candidate], where: str, subject: str) -> Candidate:
    """Return the first candidate by rank, incomplete ones only if all are. Raises ProblemError if several are first."""
    complete = [candidate for candidate in matching if not candidate.missing] or matching
    rank = min(candidate.rank for candidate in complete)
    first = [candidate for candidate in complete if candidate.rank == rank]
    if len(first) > 1:
        found = f"{len(first)} models of {where} that could be meant: {_list(first)}"
        fix = f"give its path there instead of a quant: '{first[0].path}'"
        raise ProblemError(Problem(subject, found, "one of them", fix))
    return first[0]


def _complete(candidate: Candidate, models: list[Candidate], where: str, subject: str) -> Candidate:
    """Return the candidate. Raises ProblemError if shards of it are missing."""
    if not candidate.missing:
        return candidate
    total = len(candidate.files) + len(candidate.missing)
    shards = f"{len(candidate.files)} of {total} shards of {candidate.quant or 'the model'}"
    others = [other for other in models if not other.missing]
    wanted = f"all of them, or one of: {_list(others)}" if others else "all of them"
    raise ProblemError(Problem(subject, f"{shards} in {where}, without {', '.join(candidate.missing[:5])}", wanted))


def _list(models: list[Candidate]) -> str:
    return ", ".join(str(candidate) for candidate in models)
