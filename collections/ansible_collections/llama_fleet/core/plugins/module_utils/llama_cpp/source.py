# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Parse the source of llama.cpp: an archive or git repository, or binaries of our own or of the project."""

from __future__ import annotations

import dataclasses
import pathlib
import re
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.pinned import parse_package, parse_pinned
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp import versions
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.versions import LATEST, STABLE
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError, nearest, one_of
from ansible_collections.llama_fleet.core.plugins.module_utils.release.index import SUFFIX, without_suffix

SOURCE = "llama_cpp_source"
VERSION = "llama_cpp_version"

_COMMIT = re.compile(r"[0-9a-f]{40}")
_ABBREVIATED = re.compile(r"[0-9a-f]{7,39}")
_BUILD_TAG = re.compile(r"b([0-9]+)")
_BUILD_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
_ARCHIVE_SUFFIXES = (".tar.gz", ".tgz", ".tar.xz", ".tar.bz2", ".tar")
_PACKED_NAME = re.compile(rf"{_BUILD_NAME.pattern}-[0-9a-f]{{12}}")
_PACKED = "release+"
_UPSTREAM = "upstream:"
_SUM = re.compile(r"[0-9a-fA-F]{64}")
_CHANNEL_FIX = f"set {SOURCE} to git+https://github.com/ggml-org/llama.cpp, or leave {VERSION} empty"


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
        """Return the last part of the reference, which may contain the build number."""
        return self.reference.rsplit(":" if self.on_index else "/", 1)[-1]


@dataclasses.dataclass(frozen=True)
class Repository:
    """A git repository. ``url`` is any address that git can fetch from."""

    url: str


@dataclasses.dataclass(frozen=True)
class PackedSource:
    """A packed release of our own. ``reference`` is a URL, or an absolute path, for which ``sha256`` may be empty.

    Its file is named ``<build>-<first 12 digits of the fingerprint>`` and one of the suffixes of packed releases.
    """

    reference: str
    sha256: str

    @property
    def on_host(self) -> bool:
        return self.reference.startswith("/")

    @property
    def location(self) -> str:
        """Return the folder or URL that contains it."""
        return self.reference.rpartition("/")[0] or "/"

    @property
    def name(self) -> str:
        """Return the release's name: that of the file without its suffix."""
        return without_suffix(self.reference.rpartition("/")[2])

    @property
    def build(self) -> str:
        return self.name.rpartition("-")[0]

    @property
    def fingerprint(self) -> str:
        """Return the first 12 digits of the fingerprint, which are in the name."""
        return self.name.rpartition("-")[2]


@dataclasses.dataclass(frozen=True)
class Upstream:
    """The project's published binaries: of a nightly tag, or of ``latest``, ``stable`` or a stable version.

    ``runtime_sha256`` is that of the CUDA libraries, which are published separately. Without a ``sha256`` the release
    API of the project states both.
    """

    tag: str
    sha256: str = ""
    runtime_sha256: str = ""


Source = typing.Union[Archive, Repository, PackedSource, Upstream]


def parse_source(text: str) -> Source:
    """Return the source that ``llama_cpp_source`` names.

    Raises ProblemError if it is invalid, or lacks the SHA-256 of something to download.
    """
    if text.startswith(_PACKED):
        return _parse_packed(text)
    if text.startswith(_UPSTREAM):
        return _parse_upstream(text)
    if text.startswith("git+"):
        url = text[len("git+") :]
        shown = re.sub(r"//[^/]*@", "//", url)
        if not re.match(r"(https?|ssh|git|file)://.", url):
            raise ProblemError(
                Problem(SOURCE, f"'git+{shown}'", "a repository like 'git+https://…' or 'git+file:///…'")
            )
        if url != shown and not url.startswith("ssh:"):
            # It would appear in git's argument list, in messages and in manifests.
            fix = "put it into a credential helper or the .netrc of the host's user"
            raise ProblemError(Problem(SOURCE, f"a login in the address {shown}", "an address without one", fix))
        return Repository(url)
    pinned = parse_pinned(text, SOURCE)
    archive = Archive(pinned.reference, pinned.sha256)
    if archive.on_index:
        parse_package(pinned.reference, SOURCE)
    elif not archive.on_host and not re.match(r"https?://.", pinned.reference):
        forms = (
            "'pypi:<project>==<version>', an https URL, an absolute path, 'git+<URL>', 'release+<URL or path>' or "
            "'upstream:<build tag>'"
        )
        raise ProblemError(Problem(SOURCE, f"'{text}'", forms))
    elif not pinned.reference.endswith(_ARCHIVE_SUFFIXES):
        raise ProblemError(
            Problem(SOURCE, f"'{pinned.reference}'", f"an archive that ends in {one_of(_ARCHIVE_SUFFIXES)}")
        )
    if not pinned.sha256:
        raise ProblemError(
            Problem(SOURCE, f"'{text}' without a checksum", "'#sha256=' and its 64 hexadecimal digits at the end")
        )
    return archive


def _parse_packed(text: str) -> PackedSource:
    pinned = parse_pinned(text[len(_PACKED) :], SOURCE)
    source = PackedSource(pinned.reference, pinned.sha256)
    if not source.on_host and not re.match(r"https?://.", source.reference):
        raise ProblemError(
            Problem(SOURCE, f"'{text}'", "a packed release like 'release+https://…' or 'release+/absolute/path'")
        )
    if not _PACKED_NAME.fullmatch(source.name):
        raise ProblemError(
            Problem(
                SOURCE,
                f"'{source.reference}'",
                f"the name of a packed release, such as b11434-0c1e57098a3f{SUFFIX}",
            )
        )
    if not source.sha256 and not source.on_host:
        raise ProblemError(
            Problem(SOURCE, f"'{text}' without a checksum", "'#sha256=' and its 64 hexadecimal digits at the end")
        )
    return source


def _parse_upstream(text: str) -> Upstream:
    tag, _mark, fragment = text[len(_UPSTREAM) :].partition("#")
    moves = tag in versions.CHANNELS or versions.is_stable_tag(tag)
    if not (versions.is_nightly_tag(tag) or (moves and not fragment)):
        wanted = "'upstream:latest', 'upstream:stable', a tag like 'upstream:b11434', or 'upstream:b11434#sha256=…'"
        raise ProblemError(Problem(SOURCE, f"'{text}'", wanted))
    if not _mark:
        return Upstream(tag)
    pairs = [part.partition("=") for part in fragment.split("&")]
    sums = {name: value.lower() for name, _equals, value in pairs if _SUM.fullmatch(value)}
    if "sha256" not in sums or not set(sums) <= {"sha256", "runtime_sha256"} or len(sums) != len(pairs):
        wanted = "'#sha256=' and 64 hexadecimal digits, and for CUDA '&runtime_sha256=' and those of its libraries"
        raise ProblemError(
            Problem(SOURCE, f"the fragment '#{fragment}'" if fragment else f"'{text}' without a checksum", wanted)
        )
    return Upstream(tag, sums["sha256"], sums.get("runtime_sha256", ""))


def archive_build(archive: Archive, version: str) -> str:
    """Return the build's name:

    the given version, else the build number in the archive's name, else its SHA-256's first 9 digits. Raises
    ProblemError if the version is a channel's name, because an archive never changes.
    """
    if version in versions.CHANNELS:
        wanted = f"a git repository or 'upstream:{version}' as {SOURCE}"
        raise ProblemError(
            Problem(VERSION, f"'{version}', and an archive as {SOURCE}, which is one fixed build", wanted, _CHANNEL_FIX)
        )
    if version:
        if not _BUILD_NAME.fullmatch(version):
            raise ProblemError(Problem(VERSION, f"'{version}'", "a name of letters, digits, '.', '_', '+' and '-'"))
        return version
    number = re.search(r"(?<![0-9A-Za-z])b?([0-9]{4,})(?![0-9A-Za-z])", archive.name)
    return f"b{number.group(1)}" if number else archive.sha256[:9]


def build_number(build: str) -> int:
    """Return the number that llama.cpp shows as its version; 0 if the build's name has none."""
    match = _BUILD_TAG.fullmatch(build)
    return int(match.group(1)) if match else 0


@dataclasses.dataclass(frozen=True)
class Revision:
    """One commit, the name of its build, and the nightly tag (``b1234``) of that commit, if known."""

    commit: str
    build: str
    nightly: str = ""

    @property
    def number(self) -> str:
        """Return the name that holds the build number: the nightly tag's if known, else the build's."""
        return self.nightly or self.build


def pinned_revision(version: str) -> Revision | None:
    """Return the revision if the version is a full commit, which needs no lookup; else None."""
    return Revision(version, version[:9]) if _COMMIT.fullmatch(version) else None


def find_revision(version: str, listing: str, url: str) -> Revision:
    """Return the revision of ``version`` from the output of ``git ls-remote --tags``.

    It is a tag, ``stable``, ``latest`` or empty, which means ``latest``. Raises ProblemError.
    """
    tags = parse_tags(listing)
    stable = version == STABLE
    newest = versions.newest_stable(tags) if stable else versions.newest_nightly(tags)
    name = newest if version in ("", *versions.CHANNELS) else version
    if name is None:
        asked = f"'{STABLE if stable else LATEST}', but {url} has no {'version' if stable else 'build'} tag"
        wanted = f"a repository with tags like {'v0.8.0' if stable else 'b1234'}"
        raise ProblemError(Problem(VERSION, asked, wanted, "name a tag or a commit"))
    if name in tags:
        same = versions.newest_nightly(tag for tag, commit in tags.items() if commit == tags[name])
        return Revision(tags[name], name.replace("/", "-"), "" if versions.is_nightly_tag(name) else same or "")
    if _ABBREVIATED.fullmatch(name):
        raise ProblemError(Problem(VERSION, f"the abbreviated commit '{name}'", "all 40 digits, or a tag"))
    close = nearest(name, tags)
    raise ProblemError(
        Problem(
            VERSION,
            f"'{name}', which is not a tag of {url}",
            f"a tag{f' such as {one_of(close)}' if close else ''}, a commit of 40 digits, '{STABLE}' or '{LATEST}'",
        )
    )


def parse_tags(listing: str) -> dict[str, str]:
    """Map tags to commits. An annotated tag's ``^{}`` line, which names its commit, follows its own."""
    tags: dict[str, str] = {}
    for line in listing.splitlines():
        commit, _tab, reference = line.partition("\t")
        if reference.startswith("refs/tags/"):
            tags[reference[len("refs/tags/") :].replace("^{}", "")] = commit
    return tags


def find_tree(files: typing.Iterable[str]) -> pathlib.PurePosixPath | None:
    """Return the folder of llama.cpp among an archive's file names, or None.

    That is the shortest path with the build files.
    """
    names = set(files)
    trees = [
        pathlib.PurePosixPath(name).parent
        for name in names
        if name.endswith("/CMakeLists.txt") or name == "CMakeLists.txt"
        if all(
            str(pathlib.PurePosixPath(name).parent / part) in names
            for part in ("ggml/CMakeLists.txt", "tools/server/CMakeLists.txt")
        )
    ]
    return min(trees, key=lambda path: (len(path.parts), str(path)), default=None)
