# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Plan a release that was built elsewhere: a packed one of our own, or the project's binaries."""

from __future__ import annotations

import pathlib
import platform
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.host.files import require_writable
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp import upstream
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.build_plan import BuildPlan
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.options import fingerprint
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.source import (
    SOURCE,
    PackedSource,
    Revision,
    Upstream,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError, raise_if_any
from ansible_collections.llama_fleet.core.plugins.module_utils.release.store import release_path, whole_manifest

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.request import Request


def packed(request: Request, source: PackedSource) -> BuildPlan:
    path = request.root / "releases" / source.name
    revision = Revision("", source.build)
    manifest = whole_manifest(path, source.fingerprint)
    if manifest is None:
        require_writable(request.root, "llama_cpp_root")
        if source.on_host and not pathlib.Path(source.reference).is_file():
            raise ProblemError(Problem(SOURCE, f"no file {source.reference}", "a packed release on the host"))
        return BuildPlan(revision, fingerprint=source.fingerprint, path=path)
    return BuildPlan(
        revision,
        parts=manifest.get("fingerprint_parts", {}),
        fingerprint=manifest["fingerprint"],
        path=path,
        manifest=manifest,
    )


def published(request: Request, source: Upstream) -> BuildPlan:
    parts = {
        "source": source.sha256,
        "runtime": source.runtime_sha256,
        "build": source.tag,
        "backend": request.backend,
        "machine": platform.machine(),
    }
    digest = fingerprint(parts)
    path = release_path(request.root, source.tag, digest)
    manifest = whole_manifest(path, digest)
    if manifest is None:
        require_writable(request.root, "llama_cpp_root")
        raise_if_any(upstream.upstream_problems(source, request.backend, platform.machine(), request.driver_version))
    return BuildPlan(Revision("", source.tag), parts=parts, fingerprint=digest, path=path, manifest=manifest)
