# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""List a zip archive on a web server by reading only its directory at the end."""

from __future__ import annotations

import io
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch import archives
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.download import read_range
from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.files import ListedFile

# The size of a model is limited only by the disk, which is checked before unpacking.
LIMITS = archives.Limits(members=20_000, unpacked=1 << 50)
_MOST_REQUESTS = 200
# One request reads the directory of a small archive; a wheel with a model has few members.
_BUFFER = 1 << 16


def members(url: str, size: int, variable: str, endpoint: str = "") -> list[ListedFile] | None:
    """List the archive's members with their sizes in bytes; None without support for ranges or if it is no archive.

    ``endpoint`` is the server that supplied ``url``.
    """
    try:
        file = typing.cast("typing.IO[bytes]", io.BufferedReader(_Ranges(url, size, variable, endpoint), _BUFFER))
        return [ListedFile(each.filename, each.file_size) for each in archives.Zip(file, LIMITS).members]
    except (archives.ArchiveError, io.UnsupportedOperation):
        return None


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
