# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Where llama.cpp's source comes from: an archive with its sha256, or a commit of a git repository."""

from __future__ import annotations

import dataclasses
import pathlib
import re
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.pinned import parse_package, parse_pinned
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError, nearest, one_of

SOURCE = "llama_cpp_source"
VERSION = "llama_cpp_version"
LATEST = "latest"

_COMMIT = re.compile(r"[0-9a-f]{40}")
_ABBREVIATED = re.compile(r"[0-9a-f]{7,39}")
_BUILD_TAG = re.compile(r"b([0-9]+)")
_BUILD_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
_ARCHIVE_SUFFIXES = (".tar.gz", ".tgz", ".tar.xz", ".tar.bz2", ".tar")


@dataclasses.dataclass(frozen=True)
class Archive:
    """A packed source tree. ``reference`` is ``pypi:<project>==<version>``, a URL or an absolute path."""

    reference: str
    sha256: str

    @property
    def on_index(self) -> bool:
        return self.reference.startswith("pypi:")

    @property
    def on_host(self) -> bool:
        return self.reference.startswith("/")

    @property
    def name(self) -> str:
        """The last part of the reference, from which a build's name can be read."""
        return self.reference.rsplit(":" if self.on_index else "/", 1)[-1]


@dataclasses.dataclass(frozen=True)
class Repository:
    """A git repository. ``url`` is anything git fetches from."""

    url: str


def parse_source(text: str) -> Archive | Repository:
    """The source that ``llama_cpp_source`` names; raises where it names none, or an archive without its sha256."""
    if text.startswith("git+"):
        url = text[len("git+") :]
        if not re.match(r"(https?|ssh|git|file)://.", url):
            raise ProblemError(Problem(SOURCE, f"'{text}'", "a repository like 'git+https://…' or 'git+file:///…'"))
        return Repository(url)
    pinned = parse_pinned(text, SOURCE)
    archive = Archive(pinned.reference, pinned.sha256)
    if archive.on_index:
        parse_package(pinned.reference, SOURCE)
    elif not archive.on_host and not re.match(r"https?://.", pinned.reference):
        raise ProblemError(Problem(SOURCE, f"'{text}'", "'pypi:<project>==<version>', an https URL, an absolute path, or 'git+<URL>'"))
    elif not pinned.reference.endswith(_ARCHIVE_SUFFIXES):
        raise ProblemError(Problem(SOURCE, f"'{pinned.reference}'", f"an archive that ends in {one_of(_ARCHIVE_SUFFIXES)}"))
    if not pinned.sha256:
        raise ProblemError(Problem(SOURCE, f"'{text}' without a checksum", "'#sha256=' and its 64 hexadecimal digits at the end"))
    return archive


def archive_build(archive: Archive, version: str) -> str:
    """The build's name: the version given, else the build number in the archive's name, else its sha256's head."""
    if version:
        if not _BUILD_NAME.fullmatch(version):
            raise ProblemError(Problem(VERSION, f"'{version}'", "a name of letters, digits, '.', '_', '+' and '-'"))
        return version
    number = re.search(r"(?<![0-9A-Za-z])b?([0-9]{4,})(?![0-9A-Za-z])", archive.name)
    return f"b{number.group(1)}" if number else archive.sha256[:9]


def build_number(build: str) -> int:
    """The number llama.cpp shows as its version; 0 where the build's name has none."""
    match = _BUILD_TAG.fullmatch(build)
    return int(match.group(1)) if match else 0


@dataclasses.dataclass(frozen=True)
class Revision:
    """One commit and the name of its build."""

    commit: str
    build: str


def pinned_revision(version: str) -> Revision | None:
    """The revision where the version is a whole commit, for which nobody need be asked."""
    return Revision(version, version[:9]) if _COMMIT.fullmatch(version) else None


def find_revision(version: str, listing: str, url: str) -> Revision:
    """The revision of ``version`` (a tag, ``latest`` or empty) in what ``git ls-remote --tags`` printed."""
    tags = parse_tags(listing)
    name = newest_build(tags) if version in ("", LATEST) else version
    if name is None:
        raise ProblemError(Problem(VERSION, f"'{LATEST}', but {url} has no build tag", "a repository with tags like b1234", "name a tag or a commit"))
    if name in tags:
        return Revision(tags[name], name.replace("/", "-"))
    if _ABBREVIATED.fullmatch(name):
        raise ProblemError(Problem(VERSION, f"the abbreviated commit '{name}'", "all 40 digits, or a tag"))
    close = nearest(name, tags)
    raise ProblemError(
        Problem(VERSION, f"'{name}', which {url} has no tag for", f"a tag{f' such as {one_of(close)}' if close else ''}, a commit of 40 digits or '{LATEST}'")
    )


def parse_tags(listing: str) -> dict[str, str]:
    """Tag → commit; an annotated tag's ``^{}`` line, which names the commit, comes after its own."""
    tags: dict[str, str] = {}
    for line in listing.splitlines():
        commit, _tab, reference = line.partition("\t")
        if reference.startswith("refs/tags/"):
            tags[reference[len("refs/tags/") :].replace("^{}", "")] = commit
    return tags


def newest_build(tags: typing.Iterable[str]) -> str | None:
    """The build tag (``b1234``) with the highest number."""
    builds = [tag for tag in tags if _BUILD_TAG.fullmatch(tag)]
    return max(builds, key=build_number, default=None)


def find_tree(files: typing.Iterable[str]) -> pathlib.PurePosixPath | None:
    """The folder of llama.cpp among an archive's file names: the shortest that has its build files, None without one."""
    names = set(files)
    found = [
        pathlib.PurePosixPath(name).parent
        for name in names
        if name.endswith("/CMakeLists.txt") or name == "CMakeLists.txt"
        if all(str(pathlib.PurePosixPath(name).parent / part) in names for part in ("ggml/CMakeLists.txt", "tools/server/CMakeLists.txt"))
    ]
    return min(found, key=lambda path: (len(path.parts), str(path)), default=None)
