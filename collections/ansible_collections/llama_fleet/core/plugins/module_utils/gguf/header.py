# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Parse the header of a GGUF file from its first megabytes.

The format is specified in docs/gguf.md of ggml and ggml/include/gguf.h of llama.cpp, and whatever llama.cpp refuses is
refused here. The bytes are untrusted: at most ``LONGEST`` bytes are read, whatever counts and lengths they claim, and
values that are not needed are skipped without being built.
"""

from __future__ import annotations

import dataclasses
import math
import struct
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.bytes import require_gguf
from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.reader import FIRST_BLOCK, Content, Read, Reader
from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.types import (
    ARRAY,
    BLOCKS,
    FORMATS,
    INTEGERS,
    QUANTS,
    TEXT,
    U32,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError

if typing.TYPE_CHECKING:
    import pathlib

Values = typing.Mapping[str, typing.Union[int, str, None]]

_MOST_PAIRS = 10_000
_MOST_TENSORS = 30_000  # models have some thousands
_LONGEST_KEY = 1024
_LONGEST_TEXT = 4096
_LONGEST_TENSOR_NAME = 63
_MOST_DIMENSIONS = 4

ARCHITECTURE, TYPE, ADAPTER_TYPE = "general.architecture", "general.type", "adapter.type"
_ALIGNMENT = "general.alignment"
_TEXTS = (ARCHITECTURE, TYPE, ADAPTER_TYPE, "general.name", "general.size_label")
_COUNTS = ("general.file_type", "split.no", "split.count")
_COUNTS_OFARCHITECTURE = ("context_length", "block_count", "embedding_length")  # prefixed by "ARCHITECTURE."
_CHAT_TEMPLATE = "tokenizer.chat_template"


@dataclasses.dataclass(frozen=True)
class Header:
    """The header of a GGUF file. Shards after the first hold only their number and their tensors."""

    architecture: str  # empty in a shard after the first
    name: str
    quant: str  # from general.file_type, such as Q4_K_M; empty if unknown
    size_label: str  # such as 135M
    context_length: int  # tokens the model was trained for; 0 if unknown
    block_count: int  # 0 if unknown
    embedding_length: int  # 0 if unknown
    split_no: int  # from 0
    split_count: int  # 1 for an unsplit model
    has_chat_template: bool
    tensor_count: int
    parameters: int  # in this file
    length: int  # bytes before the tensor data
    content: Content = dataclasses.field(repr=False, compare=False)  # those bytes


def read_header(read: Read, size: int, where: str, variable: str = "gguf_model_source") -> Header:
    """Parse the header of a file of ``size`` bytes. Raises ProblemError if it is not a valid GGUF file.

    ``read(begin, end)`` returns those bytes of the file. In errors ``where`` is the file's URL or path and ``variable``
    the variable that the user can change.
    """
    source, tensor_count, pair_count = begin_header(read, size, where, variable)
    values = metadata(source, pair_count)
    return _header(source, values, tensor_count, tensors(source, values, tensor_count).parameters)


def begin_header(
    read: Read, size: int, where: str, variable: str = "gguf_model_source", block: int = FIRST_BLOCK
) -> tuple[Reader, int, int]:
    """Return a reader behind the fixed part of a header, and the claimed numbers of tensors and keys.

    ``block`` is the number of bytes to read first. Raises ProblemError.
    """
    source = Reader(read, size, where, variable, block)
    require_gguf(source.peek(64), where, variable)
    source.position = 4
    _require_version(source)
    tensor_count, pair_count = source.take("<QQ")
    # A key with its value takes at least 13 bytes, a tensor 24.
    if pair_count > min(_MOST_PAIRS, size // 13) or tensor_count > min(_MOST_TENSORS, size // 24):
        raise source.bad(f"{tensor_count} tensors and {pair_count} keys claimed")
    return source, tensor_count, pair_count


def file_header(path: pathlib.Path, variable: str = "gguf_model_source") -> Header:
    """Parse the header of a local file. Raises ProblemError."""
    try:
        with path.open("rb") as file:

            def read(begin: int, end: int) -> bytes:
                file.seek(begin)
                return file.read(end - begin)

            return read_header(read, path.stat().st_size, str(path), variable)
    except OSError as error:
        raise ProblemError(
            Problem(variable, f"{path}, which cannot be read ({error.strerror})", "a GGUF file that this user can read")
        ) from error


def _require_version(source: Reader) -> None:
    """Raise ProblemError unless the file is little-endian and of GGUF version 2 or 3."""
    (version,) = source.take("<I")
    newer = "take a newer conversion of the model" if version == 1 else ""
    if version and version & 0xFFFF == 0:
        raise source.bad("a big-endian GGUF file, which this host cannot use,", "a little-endian one", "")
    if version not in (2, 3):
        raise source.bad(f"GGUF version {version}", "version 2 or 3", newer)


def metadata(source: Reader, count: int, until: str = "") -> dict[str, int | str | None]:
    """Read the needed ones of ``count`` keys; None stands for a value of an unexpected type.

    Stops at the first key that begins with ``until``.
    """
    seen: set[str] = set()
    values: dict[str, int | str | None] = {}
    for _index in range(count):
        key = source.text(_LONGEST_KEY, "a key")
        if not key or key in seen:
            raise source.bad(f"the key '{key}' twice" if key else "a key without a name")
        if until and key.startswith(until):
            break
        seen.add(key)
        (kind,) = source.take("<I")
        if kind == TEXT and key in _TEXTS:
            values[key] = source.text(_LONGEST_TEXT, f"the key '{key}'")
        elif kind in INTEGERS and (kind == U32 or key != _ALIGNMENT):
            (values[key],) = source.take(FORMATS[kind])
        else:
            length = _skip_value(source, key, kind)
            values[key] = length if key == _CHAT_TEMPLATE else None
    return values


def _skip_value(source: Reader, key: str, kind: int) -> int:
    """Skip a value; return the length of a text in bytes, otherwise 0."""
    if kind == TEXT:
        (length,) = source.take("<Q")
        source.skip(length)
        return int(length)
    if kind != ARRAY:
        source.skip(_width(source, key, kind))
        return 0
    of, count = source.take("<IQ")
    if of == TEXT:
        source.require(8 * count)  # their least size, so that a claimed count is bounded by the file's size
        source.skip_texts(count)
    else:
        source.skip(count * _width(source, key, of))
    return 0


def _width(source: Reader, key: str, kind: int) -> int:
    """Return the bytes of one value of a fixed-size type."""
    if kind not in FORMATS:
        raise source.bad(
            f"an array of arrays at the key '{key}'" if kind == ARRAY else f"the unknown type {kind} at the key '{key}'"
        )
    return struct.calcsize(FORMATS[kind])


def _alignment(source: Reader, values: typing.Mapping[str, object]) -> int:
    """Return the alignment of the tensor data in bytes."""
    alignment = values.get(_ALIGNMENT, 32)
    if not isinstance(alignment, int) or alignment < 1 or alignment & (alignment - 1):
        raise source.bad(f"the alignment {alignment}", "a power of two")
    return alignment


class Tensors(typing.NamedTuple):
    """The names of a file's tensors, and how many values they have together."""

    names: typing.Collection[str]
    parameters: int


def tensors(source: Reader, values: Values, count: int) -> Tensors:
    """Read the descriptions of ``count`` tensors, and skip the padding."""
    alignment = _alignment(source, values)
    parameters = end = 0
    expected: int | None = 0  # offset of the next tensor's data; None after the first unknown type
    names: set[str] = set()
    for _index in range(count):
        name = source.text(_LONGEST_TENSOR_NAME, "a tensor's name")
        (dimensions,) = source.take("<I")
        if name in names or dimensions > _MOST_DIMENSIONS:
            raise source.bad(
                f"the tensor '{name}' twice" if name in names else f"the tensor '{name}' with {dimensions} dimensions"
            )
        names.add(name)
        shape = source.take(f"<{dimensions}Q")
        kind, offset = source.take("<IQ")
        elements = math.prod(shape)
        per_block, width = BLOCKS.get(kind, (1, 0))
        if elements >= 1 << 63 or kind >= 1 << 16 or (shape[0] if shape else 1) % per_block:
            raise source.bad(f"the tensor '{name}' of the shape {shape} and type {kind}")
        if offset % alignment or (expected is not None and offset != expected):
            raise source.bad(f"the tensor '{name}' at {offset}")
        parameters += elements
        end = max(end, offset + elements // per_block * width)
        expected = None if expected is None or not width else -(-end // alignment) * alignment
    source.skip(-source.position % alignment if count else 0)
    if source.position + end > source.size:
        raise source.bad(f"{source.size} of {source.position + end} bytes")
    return Tensors(names, parameters)


def _header(source: Reader, values: Values, tensor_count: int, parameters: int) -> Header:
    """Build the header from its ``values``. Raises ProblemError for a value of a wrong type or range."""

    def text(key: str) -> str:
        value = values.get(key, "")
        if not isinstance(value, str):
            raise source.bad(f"the key '{key}' that is no text")
        return value

    def number(key: str, default: int = 0) -> int:
        value = values.get(key, default)
        if not isinstance(value, int) or value < 0:
            raise source.bad(f"the key '{key}' that is no count")
        return value

    architecture = text(ARCHITECTURE)
    file_type, split_no, split_count = (number(key) for key in _COUNTS)
    if split_no >= max(1, split_count):
        raise source.bad(f"shard {split_no + 1} of {split_count}", "a shard's number within their count")
    if not architecture and not split_no:
        raise source.bad(f"no '{ARCHITECTURE}'", "a model")
    del source.data[source.position :]
    context, blocks, embedding = (number(f"{architecture}.{key}") for key in _COUNTS_OFARCHITECTURE)
    return Header(
        architecture=architecture,
        name=text("general.name"),
        quant=QUANTS.get(file_type, "") if "general.file_type" in values else "",
        size_label=text("general.size_label"),
        context_length=context,
        block_count=blocks,
        embedding_length=embedding,
        split_no=split_no,
        split_count=max(1, split_count),
        has_chat_template=bool(values.get(_CHAT_TEMPLATE)),
        tensor_count=tensor_count,
        parameters=parameters,
        length=source.position,
        content=source.data,
    )
