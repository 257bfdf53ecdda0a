# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Read the first bytes of an untrusted GGUF file in growing blocks, never more than LONGEST."""

from __future__ import annotations

import struct
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.bytes import require_gguf
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError

Read = typing.Callable[[int, int], bytes]
Content = typing.Union[bytes, bytearray]  # as collected; copying it would cost megabytes

FIRST_BLOCK = 1 << 20
LARGEST_BLOCK = 1 << 23
LONGEST = 40 << 20  # bytes of a header; the largest vocabularies make one of about 16 MB


class Reader:
    """The bytes read so far and the parser's position in them; more are fetched on demand."""

    def __init__(self, read: Read, size: int, where: str, variable: str, block: int = FIRST_BLOCK) -> None:
        self.size = size
        self.position = 0
        self.data = bytearray()
        self._read = read
        self._where = where
        self._variable = variable
        self._block = block

    def bad(
        self, found: str, wanted: str = "a whole GGUF file", fix: str = "take it from another place, or fetch it again"
    ) -> ProblemError:
        """Return the error to raise for this file."""
        return ProblemError(Problem(self._variable, f"{found} in {self._where}", wanted, fix))

    def peek(self, count: int) -> bytes:
        """Return the next ``count`` bytes, or fewer at the end of the file."""
        self.require(max(0, min(count, self.size - self.position)))
        return bytes(self.data[self.position : self.position + count])

    def require(self, count: int) -> None:
        """Fetch until the next ``count`` bytes are in ``data``. Raises ProblemError if the file is too short."""
        end = self.position + count
        if end <= len(self.data):
            return
        if end > self.size:
            raise self.bad(f"a header that goes on at byte {end} of {self.size}")
        if end > LONGEST:
            raise self.bad(f"a header of more than {LONGEST >> 20} MiB", "a shorter one, as every model has")
        while len(self.data) < end:
            begin = len(self.data)
            stop = min(begin + min(max(self._block, begin), LARGEST_BLOCK), self.size, LONGEST)
            block = self._read(begin, stop)
            if len(block) != stop - begin:
                if begin == 0:  # if an error page replaces the file, naming it says more than its length
                    require_gguf(block[:64], self._where, self._variable)
                raise self.bad(f"{len(block)} bytes instead of {stop - begin} from byte {begin} on")
            self.data += block

    def take(self, layout: str) -> tuple[typing.Any, ...]:
        """Unpack the next bytes by a struct format."""
        length = struct.calcsize(layout)
        self.require(length)
        values = struct.unpack_from(layout, self.data, self.position)
        self.position += length
        return values

    def skip(self, count: int) -> None:
        """Skip ``count`` bytes, which must exist."""
        self.require(count)
        self.position += count

    def text(self, longest: int, what: str) -> str:
        """Read a string of at most ``longest`` bytes; errors call it ``what``."""
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
        """Skip ``count`` strings. Vocabularies have hundreds of thousands, so this loop takes most of the time."""
        data, position, length_at = self.data, self.position, struct.Struct("<Q").unpack_from
        for _index in range(count):
            if position + 8 > len(data):
                self.position = position
                self.require(8)
            position += 8 + length_at(data, position)[0]
        self.position = position  # the next read fails if this is beyond the end
