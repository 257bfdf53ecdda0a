# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Read hostile tar archives, plain or compressed, with bounded memory and output."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.archives import (
    CHUNK,
    LIMITS,
    ArchiveError,
    Limits,
    trouble,
)

_XZ_MEMORY = 128 << 20  # bytes: xz -9 needs 65 MiB


class _Forward:
    """A file that tarfile can read only in bounded pieces and seek only forwards."""

    def __init__(self, file: typing.IO[bytes], limits: Limits) -> None:
        self._file = file
        self.limits = limits
        self._position = 0
        self._header = 0

    def begin_header(self) -> None:
        self._header = 0

    def tell(self) -> int:
        return self._position

    def seek(self, position: int) -> int:
        if position < self._position:
            raise ArchiveError("a member that overlaps the previous one")
        while self._position < position and self._take(min(CHUNK, position - self._position)):
            pass
        return self._position

    def read(self, size: int) -> bytes:
        """Return at most ``size`` bytes of a header."""
        self._header += size
        if size < 0 or self._header > self.limits.header:
            raise ArchiveError(f"a header of more than {self.limits.header} bytes")
        return self._take(size)

    def read_data(self, size: int) -> bytes:
        """Return at most ``size`` bytes of a member."""
        return self._take(min(CHUNK, size))

    def _take(self, size: int) -> bytes:
        data = self._file.read(size)
        self._position += len(data)
        if self._position > self.limits.unpacked:
            raise ArchiveError(f"more than {self.limits.unpacked} bytes unpacked")
        return data


class _TarFile(tarfile.TarFile):
    members: list[tarfile.TarInfo]


class Tar:
    """The members of a tar archive, in order; ``file`` is read once, from its current position."""

    def __init__(self, file: typing.IO[bytes], limits: Limits = LIMITS) -> None:
        self._forward = _Forward(file, limits)
        self._tar: _TarFile | None = None
        self._count = 0
        self._left = 0

    def limit(self, limits: Limits) -> None:
        """Replace the limits from here on, for example after the file list at the archive's beginning."""
        self._forward.limits = limits

    def __iter__(self) -> typing.Iterator[tarfile.TarInfo]:
        return iter(self.next, None)

    def next(self) -> tarfile.TarInfo | None:
        """Return the next member, or None after the last. Raises ArchiveError."""
        with trouble():
            self._forward.begin_header()
            if self._tar is None:
                self._tar = _TarFile(fileobj=typing.cast("typing.IO[bytes]", self._forward), mode="r")
            member = self._tar.next()
            self._tar.members = []  # tarfile would keep all of them
            self._tar.pax_headers = {}
        if member is None:
            return None
        self._count += 1
        if self._count > self._forward.limits.members:
            raise ArchiveError(f"more than {self._forward.limits.members} members")
        if member.size < 0 or member.issparse():
            raise ArchiveError(f"{member.name[:200]!r} in it, which is sparse or has no size")
        self._left = member.size
        return member

    def read(self, member: tarfile.TarInfo) -> typing.Iterator[bytes]:
        """Yield the bytes of the file that ``next`` returned last. Raises ArchiveError if the archive is truncated."""
        with trouble():
            self._forward.seek(member.offset_data)
            while self._left:
                data = self._forward.read_data(self._left)
                if not data:
                    raise ArchiveError(f"not a complete archive ({member.name[:200]!r} in it is truncated)")
                self._left -= len(data)
                yield data


class _Xz(io.RawIOBase):
    """A decompressed xz file with bounded memory, which lzma.open does not offer."""

    def __init__(self, file: typing.IO[bytes]) -> None:
        self._file = file
        self._decompressor = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: typing.Any) -> int:
        data, more = b"", b""  # first the output that did not fit into the last buffer
        while not (data or self._decompressor.eof):
            data = self._decompressor.decompress(more, max_length=len(buffer))
            more = self._more(data)
        buffer[: len(data)] = data
        return len(data)

    def _more(self, data: bytes) -> bytes:
        """Return the next compressed bytes, or none if ``data`` is waiting or the stream has ended."""
        more = b""
        while not (data or more or self._decompressor.eof):
            more = self._file.read(io.DEFAULT_BUFFER_SIZE)
            if not more:
                raise EOFError("it is truncated")
        return more


def decompressed(file: typing.IO[bytes]) -> typing.IO[bytes]:
    """Return the content of a gzip, bzip2, xz or plain ``file``, from its beginning."""
    file.seek(0)
    begin = file.read(6)
    file.seek(0)
    if begin.startswith(b"\x1f\x8b"):
        return typing.cast("typing.IO[bytes]", gzip.GzipFile(fileobj=file))
    if begin.startswith(b"BZh"):
        return typing.cast("typing.IO[bytes]", bz2.BZ2File(file))
    if begin == b"\xfd7zXZ\0":
        return typing.cast("typing.IO[bytes]", io.BufferedReader(_Xz(file)))
    return file
