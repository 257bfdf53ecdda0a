# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Find the file of a listing that a label means, and the shortest label that means a file and no other.

A label is a run of whole words of the file's name: its end (``I-Compact``), or a known quant with what follows it
(``IQ4_XS-3.53bpw``). If several files end alike, the label means the one without further words: ``IQ4_KSS`` is not
``smol-IQ4_KSS``. Upper and lower case and the kind of separator do not matter.
"""

from __future__ import annotations

import dataclasses
import functools
import posixpath
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.files import MODEL, Candidate, hints_at
from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.quant import quant_word, stem_of, words_of

_MOST_WORDS = 24  # at the end of a name; a label that is longer is the whole path
_OWN, _FOLDER, _PATH = range(3)  # what a label was found in: the first that has it decides

Key = tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class _Cut:
    """A run of words of a path that may be a label. ``text`` is how the author spells it."""

    level: int
    begin: int
    end: int
    text: str


class _Name:
    """The words of one candidate's path, and the runs of them that are labels."""

    def __init__(self, candidate: Candidate) -> None:
        self.candidate = candidate
        folder = posixpath.dirname(candidate.path)
        self._parts = [*(folder.split("/") if folder else ()), stem_of(candidate.path)]
        self._words = [words_of(part) for part in self._parts]
        self.keys: Key = tuple(word.key for words in self._words for word in words)
        self.stem: Key = tuple(word.key for word in self._words[-1])
        self._hinting = [at for at, key in enumerate(self.keys) if hints_at(candidate.kind, key)]

    @functools.cached_property
    def cuts(self) -> list[_Cut]:
        """Return the runs, the preferred ones first: the known quant with more and more words behind and before it."""
        own = self._in_part(len(self._parts) - 1, _OWN)
        if len(self._parts) > 1:
            has_quant = quant_word(self._words[-1], self._parts[-1]) is not None
            parent = self._in_part(len(self._parts) - 2, _FOLDER if has_quant else _OWN)
            quants = any(word.quant for word in self._words[-2])
            own = [*own, *parent] if has_quant or not quants else [*parent, *own]
        return [cut for cut in [*own, *self._paths()] if self._may_be(cut)]

    def _may_be(self, cut: _Cut) -> bool:
        """Return whether the label tells that the file is a companion, if it is one."""
        if self.candidate.kind == MODEL or self.candidate.doubtful or cut.level == _PATH:
            return True
        return any(cut.begin <= at < cut.end for at in self._hinting)

    def _in_part(self, part: int, level: int) -> list[_Cut]:
        """Return the runs within one folder's or file's name."""
        text, words = self._parts[part], self._words[part]
        first = sum(map(len, self._words[:part]))
        at, last = quant_word(words, text), len(words)

        def cut(begin: int, end: int) -> _Cut:
            alone = words[begin].quant if end == begin + 1 else ""
            return _Cut(level, first + begin, first + end, alone or text[words[begin].begin : words[end - 1].end])

        cuts = [] if at is None else [cut(at, end) for end in range(at + 1, min(last, at + _MOST_WORDS) + 1)]
        # A float behind the quant only says what the rest of the weights is: "MXFP4_MOE_BF16" is not BF16.
        starts = [begin for begin in range(last) if at is None or begin < at or not words[begin].quant]
        ends = [begin for begin in reversed(starts) if begin >= last - _MOST_WORDS]
        if at is not None:
            ends = sorted((begin for begin in ends if begin != at), key=lambda begin: (begin > at, -begin))
        return [*cuts, *(cut(begin, last) for begin in ends)]

    def _paths(self) -> list[_Cut]:
        """Return the whole path without its ending, with fewer and more of its folders."""
        count = len(self.keys)
        starts = [sum(map(len, self._words[:part])) for part in range(len(self._parts))]
        if count > 2 * _MOST_WORDS:
            return []
        return [
            _Cut(_PATH, starts[part], count, "/".join(self._parts[part:]))
            for part in reversed(range(len(self._parts)))
            if starts[part] < count
        ]

    def rest(self, cut: _Cut) -> Key:
        """Return the words of the path beside a label."""
        label = set(self.keys[cut.begin : cut.end])
        return tuple(key for key in (*self.keys[: cut.begin], *self.keys[cut.end :]) if key not in label)


class Index:
    """The labels of a listing."""

    def __init__(self, candidates: typing.Sequence[Candidate]) -> None:
        self.candidates = candidates
        self._names = [_Name(candidate) for candidate in candidates]
        self._runs: dict[Key, list[tuple[_Name, _Cut]]] = {}
        for name in self._names:
            for cut in name.cuts:
                self._runs.setdefault(name.keys[cut.begin : cut.end], []).append((name, cut))
        self._meant: dict[Key, list[Candidate]] = {}
        self._paths = {file.path: candidate for candidate in candidates for file in candidate.files}

    def find(self, wanted: str) -> list[Candidate]:
        """Return the candidates that a path or label means: one, none, or several if it is ambiguous."""
        if wanted in self._paths:
            return [self._paths[wanted]]
        if wanted.lower().endswith(".gguf"):
            return self._by_file_name(wanted.lower())
        return self._by_key(key_of(wanted))

    def label(self, candidate: Candidate) -> str:
        """Return the shortest label that means this candidate and no other; its path if there is none."""
        name = next(name for name in self._names if name.candidate is candidate)
        return self._label(name, self._shared().get(name.stem, 0))

    def labelled(self) -> list[Candidate]:
        """Return all candidates with their labels."""
        shared = self._shared()
        return [
            dataclasses.replace(name.candidate, label=self._label(name, shared.get(name.stem, 0)))
            for name in self._names
        ]

    def _label(self, name: _Name, shared: int) -> str:
        begin = len(name.keys) - len(name.stem)
        for cut in name.cuts:
            # Without a known quant a name ends alike in many ways; what it shares with its neighbour says nothing.
            within = begin <= cut.begin and not name.candidate.quant
            if within and cut.level == _OWN and cut.begin > begin + shared:
                continue
            if self.find(cut.text) == [name.candidate]:
                return cut.text
        return name.candidate.path

    def _shared(self) -> dict[Key, int]:
        """Return how many words each name shares with the beginning of another's."""
        stems = sorted({name.stem for name in self._names})
        shared = dict.fromkeys(stems, 0)
        for one, other in zip(stems, stems[1:]):
            count = len(posixpath.commonprefix([list(one), list(other)]))
            shared[one], shared[other] = max(shared[one], count), max(shared[other], count)
        return {stem: min(count, len(stem) - 1) for stem, count in shared.items()}

    def _by_file_name(self, wanted: str) -> list[Candidate]:
        paths = {path: candidate for path, candidate in self._paths.items() if path.lower() == wanted}
        names = {path: each for path, each in self._paths.items() if posixpath.basename(path).lower() == wanted}
        return list({candidate.path: candidate for candidate in (paths or names).values()}.values())

    def _by_key(self, key: Key) -> list[Candidate]:
        if key not in self._meant:
            runs = self._runs.get(key, [])
            level = min((cut.level for _name, cut in runs), default=_OWN)
            self._meant[key] = _best([(name, cut) for name, cut in runs if cut.level == level])
        return self._meant[key]


def key_of(text: str) -> Key:
    """Return the words of a label as they are compared."""
    return tuple(word.key for word in words_of(text.replace("/", "-")))


def _best(runs: list[tuple[_Name, _Cut]]) -> list[Candidate]:
    """Return the candidates that come first: models, complete ones, those without further words, at the root, whole."""
    runs = [run for run in runs if not run[0].candidate.draft] or runs
    runs = [run for run in runs if not run[0].candidate.missing] or runs
    rests = {id(name): name.rest(cut) for name, cut in runs}
    shortest = min(rests.values(), key=len, default=())
    if all(_is_within(shortest, rest) for rest in rests.values()):
        runs = [run for run in runs if rests[id(run[0])] == shortest]
    longest = list({name.candidate.path: name.candidate for name, _cut in runs}.values())
    return first_ranked(longest)


def first_ranked(models: list[Candidate]) -> list[Candidate]:
    """Return those at the root, and whole ones before split ones."""
    rank = min((candidate.rank for candidate in models), default=None)
    return [candidate for candidate in models if candidate.rank == rank]


def _is_within(short: Key, long: Key) -> bool:
    """Return whether the words of ``short`` are in ``long`` in their order."""
    rest = iter(long)
    return all(word in rest for word in short)
