# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""GGUF files made by hand, sane or not, and a place to read them from."""

from __future__ import annotations

import struct
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.header import Header, read_header
from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.types import ARRAY, TEXT, U32

F32 = 0


def text(value: str | bytes) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(data)) + data


def pair(key: str | bytes, kind: int, value: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + value


def number(key: str, value: int) -> bytes:
    return pair(key, U32, struct.pack("<I", value))


def array(key: str, kind: int, count: int, items: bytes) -> bytes:
    return pair(key, ARRAY, struct.pack("<IQ", kind, count) + items)


def tensor(name: str | bytes, shape: typing.Sequence[int] = (256,), kind: int = F32, offset: int = 0) -> bytes:
    return text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)


LLAMA = pair("general.architecture", TEXT, text("llama"))


def gguf(
    *pairs: bytes,
    tensors: typing.Sequence[bytes] = (),
    data: int = 0,
    version: int = 3,
    counts: tuple[int, int] | None = None,
    align: int = 32,
) -> bytes:
    """Return a file with ``data`` bytes after its header, which claims ``counts`` tensors and keys."""
    head = (
        b"GGUF"
        + struct.pack("<IQQ", version, *(counts or (len(tensors), len(pairs))))
        + b"".join(pairs)
        + b"".join(tensors)
    )
    return head + (bytes(-len(head) % align) if tensors else b"") + bytes(data)


class Remote:
    """A file that is read by ranges; beyond ``content``, up to ``size``, there are zeros, or answers that break off."""

    def __init__(self, content: bytes, size: int = 0, zeros: bool = True) -> None:
        self.content = content
        self.size = size or len(content)
        self.zeros = zeros
        self.asked: list[tuple[int, int]] = []

    def read(self, begin: int, end: int) -> bytes:
        assert 0 <= begin < end <= self.size
        self.asked.append((begin, end))
        given = self.content[begin:end]
        return given + bytes(end - begin - len(given)) if self.zeros else given

    def header(self) -> Header:
        return read_header(self.read, self.size, "there")
