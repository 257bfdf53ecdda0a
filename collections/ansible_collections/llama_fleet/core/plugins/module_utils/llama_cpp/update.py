# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Decide whether a run needs a newer build, or whether an existing release will do."""

from __future__ import annotations

import platform
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.options import (
    CUDA,
    NATIVE,
    Target,
    cmake_options,
    cpu_features,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.source import (
    Archive,
    Repository,
    Revision,
    pinned_revision,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.versions import (
    CHANNELS,
    LATEST,
    Version,
    compare,
    parse_version,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem
from ansible_collections.llama_fleet.core.plugins.module_utils.release.store import find_good

if typing.TYPE_CHECKING:
    import pathlib

    from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.request import Request
    from ansible_collections.llama_fleet.core.plugins.module_utils.release.store import Manifest

VARIABLE = "llama_cpp_update"
# Background builds run elsewhere with "always", so here "background" means "missing".
ALWAYS = "always"
NEVER = "never"
# CMake options that identify the revision, or depend on what happens to be installed.
_OF_THE_REVISION = ("LLAMA_BUILD_NUMBER", "LLAMA_BUILD_COMMIT", "LLAMA_OPENSSL")


def good_release(
    request: Request, cpuinfo: str, suits: typing.Callable[[Manifest], bool] = lambda _manifest: True
) -> tuple[pathlib.Path, Manifest] | None:
    """Return the newest whole release that fits the request and ``suits``, without network access.

    If the request is for the newest build, any build fits. The compiler, toolkit and C library it was made with do not
    matter, because it passed its test on a host like this.
    """
    return find_good(request.root, lambda manifest: _fits(request, manifest, cpuinfo) and suits(manifest))


def _fits(request: Request, manifest: Manifest, cpuinfo: str) -> bool:
    parts = manifest.get("fingerprint_parts", {})
    target = Target(request.backend, request.cpu, platform.machine(), tuple(sorted(request.cuda_architectures)))
    wanted = {
        "backend": request.backend,
        "machine": target.machine,
        "cuda_architectures": list(target.cuda_architectures) if request.backend == CUDA else [],
        "cpu_features": cpu_features(cpuinfo) if request.cpu == NATIVE else "",
    }
    return (
        all(parts.get(name) == value for name, value in wanted.items())
        and _options(parts.get("cmake_options", {}))
        == _options(cmake_options(target, "", "", openssl=True, user=request.cmake_options))
        and _is_of(request, manifest, parts)
    )


def _options(options: typing.Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in options.items() if name not in _OF_THE_REVISION}


def _is_of(request: Request, manifest: Manifest, parts: typing.Mapping[str, typing.Any]) -> bool:
    """Return whether the release was made from the requested source, and from the requested version if one is named."""
    if isinstance(request.source, Archive):
        return bool(parts.get("source") == request.source.sha256) and request.version in ("", manifest.get("build"))
    if manifest.get("source") != request.source_name:
        return False
    pinned = pinned_revision(request.version)
    if pinned:
        return bool(manifest.get("commit") == pinned.commit)
    if is_moving(request):
        return channel_of(manifest) == channel(request)
    return bool(manifest.get("build") == request.version.replace("/", "-"))


def is_moving(request: Request) -> bool:
    """Return whether the requested version changes by itself over time."""
    return isinstance(request.source, Repository) and request.version in ("", *CHANNELS)


def channel(request: Request) -> str:
    """Return the channel that the request follows: ``stable``, ``latest`` or, for a fixed version, nothing."""
    return (request.version or LATEST) if is_moving(request) else ""


def channel_of(manifest: Manifest) -> str:
    """Return the channel of a release. A nightly without one in its manifest was made when there was only one."""
    recorded = manifest.get("channel")
    return str(recorded) if recorded is not None else LATEST


def version_of(manifest: Manifest) -> Version | None:
    """Return the version of a release, or None if its manifest does not name one."""
    return parse_version(str(manifest.get("build", "")), str(manifest.get("nightly", "")))


def newer_here(request: Request, revision: Revision, cpuinfo: str) -> tuple[pathlib.Path, Manifest] | None:
    """Return a good release of the request's channel that is newer than ``revision``, or None.

    A channel never leads back by itself: an answer with an older version comes from a mirror that lags, or a removed
    tag.
    """
    offered = parse_version(revision.build, revision.nightly)
    if offered is None or not is_moving(request):
        return None

    def newer(manifest: Manifest) -> bool:
        here = version_of(manifest)
        return here is not None and compare(here, offered) == 1 and _fits(request, manifest, cpuinfo)

    return find_good(request.root, newer)


def nothing_there(request: Request) -> Problem:
    """Return the problem that nothing may be built and no release exists."""
    no_release = f"{NEVER}, and no good release of {request.source_name} below {request.root / 'releases'}"
    return Problem(VARIABLE, no_release, "an existing release", "set it to missing, or bring a release")
