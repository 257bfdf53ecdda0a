# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Read hostile zip archives with bounded memory and output, and hold what tar.py shares.

tarfile and zipfile read headers of any claimed size, and some decompressors unpack a whole block at once. So they read
the archive through a file object that limits each read, and every failure inside them becomes an ArchiveError.
"""

from __future__ import annotations

import contextlib
import dataclasses
import lzma
import struct
import tarfile
import typing
import zipfile
import zlib

CHUNK = 1 << 20
# Exceptions of these libraries for invalid or malicious archives. RuntimeError: encrypted, or nested too deeply.
_TROUBLE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    EOFError,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    ValueError,
    RuntimeError,
)
_PLAIN = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


class ArchiveError(ValueError):
    """An archive is invalid; the message is a noun phrase: ``a header of more than 65536 bytes``."""


@dataclasses.dataclass(frozen=True)
class Limits:
    """Limits on an archive.

    ``header`` (before one member), ``directory`` (the member list of a zip file) and ``unpacked`` are in bytes.
    """

    members: int = 50_000
    header: int = 64 << 10
    directory: int = 4 << 20
    unpacked: int = 4 << 30


LIMITS = Limits()


@contextlib.contextmanager
def trouble() -> typing.Iterator[None]:
    """Turn the exceptions that the standard library raises for an invalid archive into ArchiveError."""
    try:
        yield
    except ArchiveError:
        raise
    except _TROUBLE as error:
        raise ArchiveError(f"not a complete archive ({str(error) or type(error).__name__})") from error
    except OSError as error:
        if error.errno is not None:  # a failure of the host, not of the archive
            raise
        raise ArchiveError(f"not a complete archive ({error})") from error


class _Pieces:
    """A file that limits the bytes zipfile gets per read, because it reads the whole member list at once."""

    def __init__(self, file: typing.IO[bytes], most: int) -> None:
        self._file = file
        self._most = most
        self.seek = file.seek
        self.tell = file.tell
        self.seekable = file.seekable

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(min(size, self._most + 1) if size >= 0 else self._most + 1)
        if len(data) > self._most:
            raise ArchiveError(f"a list of members of more than {self._most} bytes")
        return data


class Zip:
    """A zip archive read from ``file``, which must stay open while the archive is used."""

    def __init__(self, file: typing.IO[bytes], limits: Limits = LIMITS) -> None:
        with trouble():
            self._archive = zipfile.ZipFile(typing.cast("typing.IO[bytes]", _Pieces(file, limits.directory)))
            self.members = self._archive.infolist()
        if len(self.members) > limits.members or sum(member.file_size for member in self.members) > limits.unpacked:
            raise ArchiveError(f"more than {limits.members} members or {limits.unpacked} bytes unpacked")
        names = [member.filename for member in self.members]
        if len(set(names)) < len(names):
            raise ArchiveError("two members with the same name")

    def read(self, member: zipfile.ZipInfo) -> typing.Iterator[bytes]:
        """Yield the bytes of ``member``, at most its declared size. Raises ArchiveError."""
        if member.compress_type not in _PLAIN:  # the other methods decompress without a memory bound
            raise ArchiveError(f"{member.filename[:200]!r} in it, which is neither stored nor deflated")
        with trouble(), self._archive.open(member) as file:
            yield from iter(lambda: file.read(CHUNK), b"")
