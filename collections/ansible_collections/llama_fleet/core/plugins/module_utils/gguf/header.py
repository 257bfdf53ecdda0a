# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The header of a GGUF file: what a model is, read from its first megabytes, wherever they are.

The format is that of ggml's specification (docs/gguf.md of ggml, ggml/include/gguf.h of llama.cpp), and what
llama.cpp refuses is refused here. The bytes may be anyone's: whatever counts and lengths they claim, no more than
``LONGEST`` of them are read, and what is not needed is stepped over and never built.
"""

from __future__ import annotations

import dataclasses
import math
import struct
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.bytes import require_gguf
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

Read = typing.Callable[[int, int], bytes]
Content = typing.Union[bytes, bytearray]  # as it was collected, for a copy would be megabytes

FIRST_BLOCK = 1 << 20
LARGEST_BLOCK = 1 << 23
LONGEST = 40 << 20  # bytes of a header; the largest vocabularies make one of about 16 MB
_MOST_PAIRS = 10_000
_MOST_TENSORS = 30_000  # models have some thousands
_LONGEST_KEY = 1024
_LONGEST_TEXT = 4096
_LONGEST_TENSOR_NAME = 63
_MOST_DIMENSIONS = 4

_ARCHITECTURE, _ALIGNMENT = "general.architecture", "general.alignment"
_TEXTS = (_ARCHITECTURE, "general.name", "general.size_label")
_COUNTS = ("general.file_type", "split.no", "split.count")
_COUNTS_OF_ARCHITECTURE = (
    "context_length",
    "block_count",
    "embedding_length",
)  # behind the architecture's name and a dot
_CHAT_TEMPLATE = "tokenizer.chat_template"


@dataclasses.dataclass(frozen=True)
class Header:
    """What a GGUF file says of itself. Shards after the first know only their place and their tensors."""

    architecture: str  # empty in a shard after the first
    name: str
    quant: str  # by general.file_type, such as Q4_K_M; empty where it is unknown
    size_label: str  # such as 135M
    context_length: int  # tokens it was trained for; 0 where unknown, as the next two
    block_count: int
    embedding_length: int
    split_no: int  # from 0
    split_count: int  # 1 for a whole model
    has_chat_template: bool
    tensor_count: int
    parameters: int  # of this file
    length: int  # bytes up to the tensor data
    content: Content = dataclasses.field(repr=False, compare=False)  # those bytes


def read_header(read: Read, size: int, where: str, variable: str = "gguf_model_source") -> Header:
    """The header of the file of ``size`` bytes that ``read(begin, end)`` reads; raises ProblemError where it is not a
    sane GGUF file.

    ``where``, a URL or path, names the file in that sentence, and ``variable`` what the user can change.
    """
    source = _Source(read, size, where, variable)
    require_gguf(source.peek(64), where, variable)
    source.position = 4
    _require_version(source)
    tensor_count, pair_count = source.take("<QQ")
    # A pair takes at least 13 bytes, a tensor 24.
    if pair_count > min(_MOST_PAIRS, size // 13) or tensor_count > min(_MOST_TENSORS, size // 24):
        raise source.bad(f"{tensor_count} tensors and {pair_count} keys claimed")
    values = _metadata(source, pair_count)
    parameters = _tensors(source, tensor_count, _alignment(source, values))
    return _header(source, values, tensor_count, parameters)


def file_header(path: pathlib.Path, variable: str = "gguf_model_source") -> Header:
    """The header of a file on this host."""
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


class _Source:
    """The first bytes of a file, fetched in blocks that grow, and where the parser is in them."""

    def __init__(self, read: Read, size: int, where: str, variable: str) -> None:
        self.size = size
        self.position = 0
        self.data = bytearray()
        self._read = read
        self._where = where
        self._variable = variable

    def bad(
        self, found: str, wanted: str = "a whole GGUF file", fix: str = "take it from another place, or fetch it again"
    ) -> ProblemError:
        return ProblemError(Problem(self._variable, f"{found} in {self._where}", wanted, fix))

    def peek(self, count: int) -> bytes:
        """The next ``count`` bytes, or what there is of them."""
        self.require(max(0, min(count, self.size - self.position)))
        return bytes(self.data[self.position : self.position + count])

    def require(self, count: int) -> None:
        """Have the next ``count`` bytes in ``data``."""
        end = self.position + count
        if end <= len(self.data):
            return
        if end > self.size:
            raise self.bad(f"a header that goes on at byte {end} of {self.size}")
        if end > LONGEST:
            raise self.bad(f"a header of more than {LONGEST >> 20} MiB", "a shorter one, as every model has")
        while len(self.data) < end:
            begin = len(self.data)
            stop = min(begin + min(max(FIRST_BLOCK, begin), LARGEST_BLOCK), self.size, LONGEST)
            block = self._read(begin, stop)
            if len(block) != stop - begin:
                if begin == 0:  # a page in the place of the file says more than its length
                    require_gguf(block[:64], self._where, self._variable)
                raise self.bad(f"{len(block)} bytes instead of {stop - begin} from byte {begin} on")
            self.data += block

    def take(self, layout: str) -> tuple[typing.Any, ...]:
        length = struct.calcsize(layout)
        self.require(length)
        found = struct.unpack_from(layout, self.data, self.position)
        self.position += length
        return found

    def skip(self, count: int) -> None:
        self.require(count)
        self.position += count

    def text(self, longest: int, what: str) -> str:
        (length,) = self.take("<Q")
        if length > longest:
            raise self.bad(f"{what} of {length} bytes")
        self.require(length)
        begin, self.position = self.position, self.position + length
        try:
            return self.data[begin : self.position].decode("utf-8")
        except UnicodeDecodeError as error:
            raise self.bad(f"{what} that is not UTF-8") from error

    def skip_texts(self, count: int) -> None:
        """Step over ``count`` strings.

        Vocabularies have hundreds of thousands, so this loop is the header's whole time.
        """
        data, position, length_at = self.data, self.position, struct.Struct("<Q").unpack_from
        for _index in range(count):
            if position + 8 > len(data):
                self.position = position
                self.require(8)
            position += 8 + length_at(data, position)[0]
        self.position = position  # whoever reads on finds out where that is beyond the end


def _require_version(source: _Source) -> None:
    (version,) = source.take("<I")
    newer = "take a newer conversion of the model" if version == 1 else ""
    if version and version & 0xFFFF == 0:
        raise source.bad("a big-endian GGUF file, which this host cannot use,", "a little-endian one", "")
    if version not in (2, 3):
        raise source.bad(f"GGUF version {version}", "version 2 or 3", newer)


def _metadata(source: _Source, count: int) -> dict[str, int | str | None]:
    """What is needed of ``count`` keys and values; None stands for a value of another type."""
    seen: set[str] = set()
    values: dict[str, int | str | None] = {}
    for _index in range(count):
        key = source.text(_LONGEST_KEY, "a key")
        if not key or key in seen:
            raise source.bad(f"the key '{key}' twice" if key else "a key without a name")
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


def _skip_value(source: _Source, key: str, kind: int) -> int:
    """Step over a value; returns the length of a text, else 0."""
    if kind == TEXT:
        (length,) = source.take("<Q")
        source.skip(length)
        return int(length)
    if kind != ARRAY:
        source.skip(_width(source, key, kind))
        return 0
    of, count = source.take("<IQ")
    if of == TEXT:
        source.require(8 * count)  # so long are they at least, whatever the count claims
        source.skip_texts(count)
    else:
        source.skip(count * _width(source, key, of))
    return 0


def _width(source: _Source, key: str, kind: int) -> int:
    if kind not in FORMATS:
        raise source.bad(
            f"an array of arrays at the key '{key}'" if kind == ARRAY else f"the unknown type {kind} at the key '{key}'"
        )
    return struct.calcsize(FORMATS[kind])


def _alignment(source: _Source, values: typing.Mapping[str, object]) -> int:
    alignment = values.get(_ALIGNMENT, 32)
    if not isinstance(alignment, int) or alignment < 1 or alignment & (alignment - 1):
        raise source.bad(f"the alignment {alignment}", "a power of two")
    return alignment


def _tensors(source: _Source, count: int, alignment: int) -> int:
    """Step over the descriptions of ``count`` tensors up to the data; returns how many values they have together."""
    parameters = end = 0
    expected: int | None = 0  # where the next one's data begins; None from the first unknown type on
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
    return parameters


def _header(
    source: _Source, values: typing.Mapping[str, int | str | None], tensor_count: int, parameters: int
) -> Header:
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

    architecture = text(_ARCHITECTURE)
    file_type, split_no, split_count = (number(key) for key in _COUNTS)
    if split_no >= max(1, split_count):
        raise source.bad(f"shard {split_no + 1} of {split_count}", "a shard's number within their count")
    if not architecture and not split_no:
        raise source.bad(f"no '{_ARCHITECTURE}'", "a model")
    del source.data[source.position :]
    context_length, block_count, embedding_length = (number(f"{architecture}.{key}") for key in _COUNTS_OF_ARCHITECTURE)
    return Header(
        architecture=architecture,
        name=text("general.name"),
        quant=QUANTS.get(file_type, "") if "general.file_type" in values else "",
        size_label=text("general.size_label"),
        context_length=context_length,
        block_count=block_count,
        embedding_length=embedding_length,
        split_no=split_no,
        split_count=max(1, split_count),
        has_chat_template=bool(values.get(_CHAT_TEMPLATE)),
        tensor_count=tensor_count,
        parameters=parameters,
        length=source.position,
        content=source.data,
    )
