# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Hold the plan of a release, and say why it is built, packed or the project's own."""

from __future__ import annotations

import dataclasses
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.options import NATIVE, PORTABLE
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.source import (
    SOURCE,
    PackedSource,
    Revision,
    Upstream,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.upstream import reference_of
from ansible_collections.llama_fleet.core.plugins.module_utils.tools import compiler as build_host
from ansible_collections.llama_fleet.core.plugins.module_utils.untrusted import line

if typing.TYPE_CHECKING:
    import pathlib

    from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.request import Request
    from ansible_collections.llama_fleet.core.plugins.module_utils.release import cache
    from ansible_collections.llama_fleet.core.plugins.module_utils.release.store import Manifest

METHOD = "llama_cpp_method"
_AUTO = f"{METHOD} is auto"
_LONGEST = 1000  # characters
_NO_HOST = build_host.BuildHost("", openssl=False, missing=())


@dataclasses.dataclass(frozen=True)
class BuildPlan:
    """The release that a host should have.

    ``fingerprint`` is empty while something it depends on is missing. ``manifest`` is that of an existing release,
    ``cached`` a packed one to fetch, ``published`` the project's binaries to fetch, and ``install`` lists missing
    packages. ``would_compile`` says that it must be built, and ``refused`` why binaries that were found did not do.
    ``beside`` says which native build has to be started beside the instance.
    """

    revision: Revision
    host: build_host.BuildHost = _NO_HOST
    parts: dict[str, typing.Any] = dataclasses.field(default_factory=dict)
    fingerprint: str = ""
    path: pathlib.Path | None = None
    manifest: Manifest | None = None
    cached: cache.Cached | None = None
    install: tuple[str, ...] = ()
    would_compile: bool = False
    published: Upstream | None = None
    refused: str = ""
    beside: dict[str, str] = dataclasses.field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def existing(path: pathlib.Path, manifest: Manifest) -> BuildPlan:
    """Return the plan that keeps a release as it is."""
    names = ("commit", "build", "nightly")
    return BuildPlan(
        Revision(*(str(manifest.get(name, "")) for name in names)),
        parts=manifest.get("fingerprint_parts", {}),
        fingerprint=manifest["fingerprint"],
        path=path,
        manifest=manifest,
    )


def why_packed(request: Request) -> str:
    """Return why a packed release is taken, as a clause for the release's record."""
    if isinstance(request.source, PackedSource):
        return f"{SOURCE} names it"
    return f"{_AUTO} and it fits this host" if request.method == "auto" else f"{METHOD} is {request.method}"


def why_published(request: Request) -> str:
    """Return why the project's binaries are taken, as ``why_packed`` does."""
    if isinstance(request.source, Upstream):
        return f"{SOURCE} names them"
    if request.method != "auto":
        return f"{METHOD} is {request.method}"
    return f"{_AUTO}, no packed release fits this host, and the project publishes the same build"


def why_built(request: Request, plan: BuildPlan) -> str:
    """Return why a release is built, as ``why_packed`` does."""
    if plan.refused:
        return line(f"{METHOD} is {request.method}, and {plan.refused}", _LONGEST)
    if request.method != "auto":
        return f"{METHOD} is {request.method}"
    return line(f"{_AUTO}, no packed release fits this host, and {_why_unpublished(request)}", _LONGEST)


def _why_unpublished(request: Request) -> str:
    """Return why the project's binaries do not stand for a build."""
    if request.reference:
        return f"GitHub gave no answer ({request.unanswered})" if request.unanswered else "GitHub was not asked"
    if request.cmake_options:
        return "llama_cpp_cmake_options are set"
    if request.cpu not in (NATIVE, PORTABLE):
        return f"llama_cpp_cpu is {request.cpu}"
    if request.trusted_signers and reference_of(request.source, request.version):
        return "llama_cpp_trusted_signers requires signatures, which published binaries do not have"
    return "the project publishes no binaries of this source"
