# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Tell by the header of a GGUF file whether it is a model, a projector, an adapter, a draft head or a matrix."""

from __future__ import annotations

import re
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.files import (
    ADAPTER,
    DRAFT,
    MATRIX,
    MODEL,
    PROJECTOR,
    VOCABULARY,
    Candidate,
    ListedFile,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.header import (
    ADAPTER_TYPE,
    ARCHITECTURE,
    TYPE,
    begin_header,
    metadata,
    tensors,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError

if typing.TYPE_CHECKING:
    import pathlib

    from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.reader import Read

FIRST = 1 << 16  # bytes; the keys that matter come before the vocabulary
_TYPES = {"adapter": ADAPTER, "imatrix": MATRIX, "mmproj": PROJECTOR, "vocab": VOCABULARY}
_PROJECTORS = ("clip", "mmproj")
_DRAFTS = re.compile(r"eagle\d*|d-?flash|dspark|medusa|.+[-_](assistant|mtp|nextn)")
_VOCABULARY = "tokenizer."


def read_kind(read: Read, size: int, where: str, with_tensors: bool = False) -> str:
    """Return what the header of a file of ``size`` bytes says that the file is; empty if it does not say.

    Reads up to the vocabulary, usually one block of ``FIRST`` bytes; ``with_tensors``, the whole header, because only
    its tensors tell a model's own MTP head from a whole model. Raises ProblemError if the header cannot be read.
    """
    source, tensor_count, pair_count = begin_header(read, size, where, block=FIRST)
    values = metadata(source, pair_count, until="" if with_tensors else _VOCABULARY)
    architecture = values.get(ARCHITECTURE)
    if ADAPTER_TYPE in values:
        return ADAPTER
    kind = _TYPES.get(str(values.get(TYPE)), "")
    if kind:
        return kind
    if architecture in _PROJECTORS:
        return PROJECTOR
    if not isinstance(architecture, str):
        return ""
    if _DRAFTS.fullmatch(architecture):
        return DRAFT
    return _by_tensors(tensors(source, values, tensor_count).names) if with_tensors else MODEL


def _by_tensors(names: typing.Collection[str]) -> str:
    """Return the kind of a file of a usual architecture by the names of its tensors."""
    if any(name.endswith((".lora_a", ".lora_b")) for name in names):
        return ADAPTER
    has_head = any(".nextn." in name or name.startswith("mtp.") for name in names)
    has_layers = any(name.startswith("blk.0.") for name in names)
    return DRAFT if has_head and not has_layers else MODEL


def speculation(path: pathlib.Path) -> str:
    """Return the type of speculative decoding, by llama-server's name, that a draft model is for; empty if unreadable.

    A model's own MTP head and Gemma's assistants are for MTP, and any whole model for plain drafting.
    """
    try:
        with path.open("rb") as file:

            def read(begin: int, end: int) -> bytes:
                file.seek(begin)
                return file.read(end - begin)

            source, tensor_count, pair_count = begin_header(read, path.stat().st_size, str(path), block=FIRST)
            values = metadata(source, pair_count)
            names = tensors(source, values, tensor_count).names
    except (OSError, ProblemError):
        return ""
    architecture = str(values.get(ARCHITECTURE))
    for word in ("eagle3", "dflash", "dspark"):
        if architecture.replace("-", "").startswith(word):
            return f"draft-{word}"
    return "draft-mtp" if _DRAFTS.fullmatch(architecture) or _by_tensors(names) == DRAFT else "draft-simple"


def kind_reader(reader: typing.Callable[[ListedFile], Read], where: str) -> typing.Callable[[Candidate], str]:
    """Return a function that reads a candidate's kind from its first file; empty if its header cannot be read."""

    def kind_of(candidate: Candidate) -> str:
        first = candidate.files[0]
        try:
            return read_kind(reader(first), first.size, f"{first.path} in {where}", candidate.kind == DRAFT)
        except ProblemError:
            return ""  # the name and the size decide; the download and the gate report a file that is broken

    return kind_of
