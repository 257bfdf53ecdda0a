# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""What is in a zip archive on a web server, read from its directory at the end instead of fetching all of it."""

from __future__ import annotations

import io
import typing
import zipfile

from ansible_collections.llama_fleet.core.plugins.module_utils.download import read_range
from ansible_collections.llama_fleet.core.plugins.module_utils.quant import ListedFile

# One request brings the directory of a small archive; a wheel with a model has few members.
_BUFFER = 1 << 16


def members(url: str, size: int, variable: str, endpoint: str = "") -> list[ListedFile] | None:
    """The archive's members with their sizes in bytes; None where the server has no ranges or the bytes are no archive.

    ``endpoint`` is what told of ``url``.
    """
    try:
        with zipfile.ZipFile(io.BufferedReader(_Ranges(url, size, variable, endpoint), _BUFFER)) as archive:
            return [ListedFile(each.filename, each.file_size) for each in archive.infolist()]
    except (zipfile.BadZipFile, io.UnsupportedOperation):
        return None


class _Ranges(io.RawIOBase):
    """A file of ``size`` bytes at ``url``, whose every read is one request."""

    def __init__(self, url: str, size: int, variable: str, endpoint: str) -> None:
        self._url = url
        self._endpoint = endpoint
        self._size = size
        self._variable = variable
        self._position = 0

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
        data = read_range(self._url, self._position, end, self._variable, self._endpoint)
        if data is None:
            raise io.UnsupportedOperation("a server without ranges")
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)
