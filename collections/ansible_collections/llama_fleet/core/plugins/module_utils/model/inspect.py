# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""List all files of a GGUF model with their headers, by the name of the first, on the host or on a web server."""

from __future__ import annotations

import dataclasses
import pathlib
import posixpath
import typing
import urllib.parse

from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.header import Header, file_header, read_header
from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.remote import RemoteGguf
from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.shards import parse_shard
from ansible_collections.llama_fleet.core.plugins.module_utils.model.local import find_local
from ansible_collections.llama_fleet.core.plugins.module_utils.model.source import PathSource, UrlSource, parse_source
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError


@dataclasses.dataclass(frozen=True)
class File:
    """A file of a model; ``name`` is its path or URL, ``size`` is in bytes."""

    name: str
    size: int
    header: Header


def local_files(path: str) -> list[File]:
    """List the files of a model on this host. Raises ProblemError."""
    first = pathlib.Path(path)
    if not first.is_absolute() or first.is_dir():
        raise ProblemError(Problem("path", f"'{path}'", "the absolute path of a GGUF file"))
    paths = [first.with_name(pathlib.PurePosixPath(file.path).name) for file in find_local(PathSource(path), "").files]
    return [File(str(each), each.stat().st_size, file_header(each, "path")) for each in paths]


def remote_files(url: str, token: str) -> list[File]:
    """List the files of a model on a web server; ``token`` may be empty. Raises ProblemError."""
    source = parse_source(url) if url.startswith(("https://", "http://")) else None
    if not isinstance(source, UrlSource):
        raise ProblemError(Problem("url", f"'{url}'", "the HTTP or HTTPS address of a GGUF file"))
    parts = urllib.parse.urlsplit(source.url)
    folder, name = posixpath.split(urllib.parse.unquote(parts.path))
    shard = parse_shard(name)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    files = []
    for each in shard.names if shard else (name,):
        address = urllib.parse.urlunsplit(parts._replace(path=urllib.parse.quote(posixpath.join(folder, each))))
        remote = RemoteGguf(address, headers, "url")
        files.append(File(remote.where, remote.size, read_header(remote.read, remote.size, remote.where, "url")))
    return files


def require_shards(files: typing.Sequence[File], option: str) -> None:
    """Raise ProblemError if a header contradicts the shard numbers in the file names."""
    for number, file in enumerate(files):
        header = file.header
        if (header.split_no, header.split_count) != (number, len(files)):
            lone_shard = f"{file.name}, whose header calls it shard {header.split_no + 1} of {header.split_count}"
            wanted, fix = f"shard {number + 1} of {len(files)}", "restore the original name of every shard"
            raise ProblemError(Problem(option, lone_shard, wanted, fix))
