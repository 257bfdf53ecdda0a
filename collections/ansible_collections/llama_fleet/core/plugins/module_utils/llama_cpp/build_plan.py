# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Hold the plan of a release, and say why it is built, packed or the project's own."""

from __future__ import annotations

import dataclasses
import pathlib
import re
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.options import NATIVE, PORTABLE
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.source import (
    SOURCE,
    PackedSource,
    Revision,
    Upstream,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.upstream import reference_of
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.versions import is_stable_tag
from ansible_collections.llama_fleet.core.plugins.module_utils.plain_text import line
from ansible_collections.llama_fleet.core.plugins.module_utils.tools import compiler as build_host
from ansible_collections.llama_fleet.core.plugins.module_utils.untrusted import (
    COMMIT,
    Address,
    Number,
    Plain,
    Record,
    ShapeError,
    Table,
    Text,
    parse,
)

if typing.TYPE_CHECKING:
    import pathlib

    from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.index import IndexFile
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
    ``listed`` is the source archive as the package index lists it.
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
    listed: IndexFile | None = None
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


@dataclasses.dataclass(frozen=True)
class Known:
    """The findings of an earlier plan of the same run on the same host.

    ``parts`` are those of the build that it found necessary, else empty. ``url`` is where the package index has the
    source archive, and ``size`` its bytes, 0 if unknown. No checksum and no path is taken from it.
    """

    revision: Revision | None
    parts: typing.Mapping[str, typing.Any]
    url: str
    size: int


_BUILD = r"[A-Za-z0-9][A-Za-z0-9._+-]*"
_KNOWN = Record(
    {
        "commit": Text(rf"|{COMMIT}"),
        "build": Text(rf"|{_BUILD}", most=200),
        "nightly": Text(r"|b[0-9]{1,9}"),
        "parts": Table(Plain(), most=50),
    },
    {"url": Address(), "size": Number(most=1 << 50)},
)


def parse_known(text: str) -> Known | None:
    """Return what an earlier plan has learnt, from its JSON; None without a valid one, because it only saves time."""
    commit, _space, build = text.partition(" ")  # of a native build beside a server
    if re.fullmatch(COMMIT, commit) and re.fullmatch(_BUILD, build) and not is_stable_tag(build):
        return Known(Revision(commit, build), {}, "", 0)
    try:
        known = parse(text, _KNOWN) if text else None
    except ShapeError:
        return None
    if known is None:
        return None
    revision = Revision(known["commit"], known["build"], known["nightly"])
    whole = revision if revision.commit and revision.build else None
    return Known(whole, known["parts"], known.get("url", ""), known.get("size", 0))
