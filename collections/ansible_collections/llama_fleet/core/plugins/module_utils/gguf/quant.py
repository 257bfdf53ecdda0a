# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Split file names into words, and find the known quants in them.

A known quant such as ``UD-Q4_K_XL`` is one word, so that a part of it, such as ``Q4_K``, never names the file.
"""

from __future__ import annotations

import dataclasses
import functools
import posixpath
import re
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.shards import parse_shard

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
_FLOATS = ("F16", "BF16", "F32", "F64")
_START = re.compile(r"(?:UD[-_])?(?:BF|FP?\d|I?Q\d|MX|NV|TQ|I2)", re.IGNORECASE)
_LONGEST = 4  # pieces of a known quant between underscores, such as Q4_0_4_8
# A number with a point, such as 3.53bpw, stays whole.
_PIECE = re.compile(r"(?<![A-Za-z0-9])(?<![A-Za-z]\d_)\d+(?:\.\d+)+[A-Za-z0-9]*|[^-._ ]+")


@dataclasses.dataclass(frozen=True)
class Word:
    """A word of a file name, at ``begin`` to ``end``. ``quant`` is its canonical spelling if it is a known quant."""

    begin: int
    end: int
    key: str  # compared instead of the text: lower case, FP16 as f16
    quant: str = ""


def label(text: str) -> str:
    """Return the canonical label of a quant (``q4_k_m`` -> ``Q4_K_M``, ``ud-…`` -> ``UD-…``), or an empty string."""
    prefix, rest = ("UD-", text[3:]) if text[:3].upper() in ("UD-", "UD_") else ("", text)
    if not _LABEL.fullmatch(rest):
        return ""
    return prefix + _ALIASES.get(rest.upper(), rest.upper())


@functools.lru_cache(maxsize=1 << 12)
def words_of(text: str) -> tuple[Word, ...]:
    """Split a name at ``-``, ``.``, ``_`` and spaces, but not within a known quant or a number with a point."""
    pieces = [match.span() for match in _PIECE.finditer(text)]
    words: list[Word] = []
    at = 0
    while at < len(pieces):
        begin, end = pieces[at]
        quant, taken = "", 1
        longest = min(_LONGEST + 1, len(pieces) - at) if _START.match(text, begin) else 0
        for count in range(longest, 0, -1):
            last = pieces[at + count - 1][1]
            quant = label(text[begin:last]) if last - begin <= 20 else ""
            if quant:
                end, taken = last, count
                break
        words.append(Word(begin, end, (quant or text[begin:end]).lower(), quant))
        at += taken
    return tuple(words)


def quant_word(words: typing.Sequence[Word], text: str) -> int | None:
    """Return the index of the word that says how the weights are stored, or None.

    It is the last known quant. In ``MXFP4_MOE_BF16`` it is the first, because the second only says of what the rest is.
    """
    at = next((index for index in range(len(words) - 1, -1, -1) if words[index].quant), None)
    while at and words[at - 1].quant and words[at - 1].quant not in _FLOATS:
        glued = text[words[at - 1].end : words[at].begin] == "_"
        if not glued and words[at].quant not in _FLOATS:
            break
        at -= 1
    return at


def stem_of(path: str) -> str:
    """Return a file's name without folder, shard number and extension."""
    name = posixpath.basename(path)
    shard = parse_shard(name)
    return shard.stem if shard else posixpath.splitext(name)[0]


def quant_of(path: str) -> str:
    """Return the known quant in a file's name, else in its folder's name, else an empty string."""
    for text in (stem_of(path), posixpath.basename(posixpath.dirname(path))):
        words = words_of(text)
        at = quant_word(words, text)
        if at is not None:
            return words[at].quant
    return ""
