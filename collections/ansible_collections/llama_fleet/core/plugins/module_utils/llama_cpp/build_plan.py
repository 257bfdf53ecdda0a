# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Hold the plan of a release."""

from __future__ import annotations

import dataclasses
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.source import Revision
from ansible_collections.llama_fleet.core.plugins.module_utils.tools import compiler as build_host

if typing.TYPE_CHECKING:
    import pathlib

    from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.source import Upstream
    from ansible_collections.llama_fleet.core.plugins.module_utils.release import cache
    from ansible_collections.llama_fleet.core.plugins.module_utils.release.store import Manifest

_NO_HOST = build_host.BuildHost("", openssl=False, missing=())


@dataclasses.dataclass(frozen=True)
class BuildPlan:
    """The release that a host should have.

    ``fingerprint`` is empty while something it depends on is missing. ``manifest`` is that of an existing release,
    ``cached`` a packed one to fetch, ``published`` the project's binaries to fetch, and ``install`` lists missing
    packages. ``would_compile`` says that it must be built.
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
