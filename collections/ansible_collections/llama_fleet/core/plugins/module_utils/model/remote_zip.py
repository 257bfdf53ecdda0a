# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""List a zip archive on a web server by reading only its directory at the end, and read the headers of its members."""

from __future__ import annotations

import io
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch import archives
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.download import read_range
from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.files import ListedFile
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError

if typing.TYPE_CHECKING:
    import zipfile

    from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.reader import Read

# The size of a model is limited only by the disk, which is checked before unpacking.
LIMITS = archives.Limits(members=20_000, unpacked=1 << 50)
_MOST_REQUESTS = 200
# One request reads the directory of a small archive; a wheel with a model has few members.
_BUFFER = 1 << 16


class Listing(typing.NamedTuple):
    """The members of an archive with their sizes in bytes, and a function that returns a reader of one."""

    files: list[ListedFile]
    reader: typing.Callable[[ListedFile], Read]


def listing(url: str, size: int, variable: str, endpoint: str = "") -> Listing | None:
    """List the archive's members; None without support for ranges or if it is no archive.

    ``endpoint`` is the server that supplied ``url``.
    """
    try:
        file = typing.cast("typing.IO[bytes]", io.BufferedReader(_Ranges(url, size, variable, endpoint), _BUFFER))
        archive = archives.Zip(file, LIMITS)
    except (archives.ArchiveError, io.UnsupportedOperation):
        return None
    by_name = {each.filename: each for each in archive.members}
    files = [ListedFile(name, each.file_size) for name, each in by_name.items()]
    return Listing(files, lambda listed: member_reader(archive, by_name[listed.path], variable))


def member_reader(archive: archives.Zip, member: zipfile.ZipInfo, variable: str = "") -> Read:
    """Return a function that reads bytes of a member, from its beginning each time, because headers are there.

    With ``variable``, an archive that cannot be read raises ProblemError, else ArchiveError.
    """

    def read(offset: int, count: int) -> bytes:
        data, position = bytearray(), 0
        for chunk in archive.read(member):
            data += chunk[max(0, offset - position) : max(0, offset + count - position)]
            position += len(chunk)
            if position >= offset + count:
                break
        return bytes(data)

    def tried(offset: int, count: int) -> bytes:
        try:
            return read(offset, count)
        except (archives.ArchiveError, io.UnsupportedOperation) as error:
            raise ProblemError(Problem(variable, str(error), "an archive that can be read by ranges")) from error

    return tried if variable else read


class _Ranges(io.RawIOBase):
    """A file of ``size`` bytes at ``url``; every read is one request."""

    def __init__(self, url: str, size: int, variable: str, endpoint: str) -> None:
        self._url = url
        self._endpoint = endpoint
        self._size = size
        self._variable = variable
        self._position = 0
        self._requests = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: typing.Any) -> int:
        end = min(self._position + len(buffer), self._size)
        if self._position >= end:
            return 0
        self._requests += 1
        if self._requests > _MOST_REQUESTS:
            raise archives.ArchiveError(f"more than {_MOST_REQUESTS} requests")
        data = read_range(self._url, self._position, end, self._variable, self._endpoint)
        if data is None:
            raise io.UnsupportedOperation("a server without ranges")
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)
