# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Plan a release that was built elsewhere: a packed one of our own, or the project's binaries.

The project's binaries may serve while the native release is built beside them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import pathlib
import platform
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.host.files import read_json, require_writable
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp import upstream
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.build_plan import (
    BuildPlan,
    existing,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.options import fingerprint
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.source import (
    SOURCE,
    PackedSource,
    Revision,
    Upstream,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.update import ALWAYS, version_of
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.versions import (
    CHANNELS,
    compare,
    parse_version,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError, raise_if_any
from ansible_collections.llama_fleet.core.plugins.module_utils.release import background
from ansible_collections.llama_fleet.core.plugins.module_utils.release.store import (
    find_good,
    read_manifest,
    release_path,
    whole_manifest,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.untrusted import Plain, Record

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.published import Published
    from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.request import Request
    from ansible_collections.llama_fleet.core.plugins.module_utils.release.store import Manifest

_LONGEST = 4 << 20  # bytes of a generation's manifest
# Parts of a fingerprint in which a release that serves may differ from a build of today.
_OF_THE_COMPILER = ("compiler", "cures")


def packed(request: Request, source: PackedSource) -> BuildPlan:
    """Return the plan for a packed release. Raises ProblemError if it should be on this host and is not."""
    path = request.root / "releases" / source.name
    revision = Revision("", source.build)
    manifest = whole_manifest(path, source.fingerprint)
    if manifest is None:
        require_writable(request.root, "llama_cpp_root")
        if source.on_host and not pathlib.Path(source.reference).is_file():
            raise ProblemError(Problem(SOURCE, f"no file {source.reference}", "a packed release on the host"))
        return BuildPlan(revision, fingerprint=source.fingerprint, path=path)
    return dataclasses.replace(existing(path, manifest), revision=revision)


def published(request: Request, source: Upstream) -> BuildPlan:
    """Return the plan for the project's binaries. Raises ProblemError if they do not run here.

    Without checksums, and before the release API has been asked, it is the plan for an existing release, or one
    without a path.
    """
    if source.sha256:
        return _fetched(request, source, Revision("", source.tag))
    if request.update != ALWAYS or (request.published is None and source.tag not in CHANNELS):
        kept = find_good(request.root, lambda manifest: _is_of(request, manifest, source.tag))
        if kept:
            return existing(*kept)
    if request.published is None:
        return BuildPlan(Revision("", source.tag))
    answer = request.published
    newer = find_good(request.root, lambda manifest: _is_newer(request, manifest, source.tag, answer))
    if newer:
        plan = existing(*newer)
        warning = (
            f"The release API offers {answer.build} as {source.tag}, which is older than the release "
            f"{plan.revision.build} on this host. It stays; name the older one to go back to it."
        )
        return dataclasses.replace(plan, warnings=(warning,))
    machine = platform.machine()
    binaries = upstream.chosen(answer.tag, answer.sums, request.backend, machine, request.driver_version)
    return _fetched(request, binaries, Revision(answer.commit, answer.build, answer.tag))


def instead_of_build(request: Request, plan: BuildPlan) -> BuildPlan:
    """Return the plan for published binaries that stand for the build of ``plan``, or ``plan`` with the reason."""
    reference = request.reference
    if not reference:
        return plan
    tag = plan.revision.number if plan.revision.build else reference
    kept = find_good(request.root, lambda manifest: _is_of(request, manifest, tag))
    if kept:
        return existing(*kept)
    if request.published is None:
        return plan
    try:
        return published(request, Upstream(reference))
    except ProblemError as error:
        warning = f"The project's binaries do not fit this host, so it builds its own. {error}"
        refused = f"the project's binaries do not fit this host ({error.problems[0].found})"
        return dataclasses.replace(plan, refused=refused, warnings=(*plan.warnings, warning))


def _fetched(request: Request, source: Upstream, revision: Revision) -> BuildPlan:
    parts = {
        "source": source.sha256,
        "runtime": source.runtime_sha256,
        "build": revision.build,
        "backend": request.backend,
        "machine": platform.machine(),
    }
    digest = fingerprint(parts)
    path = release_path(request.root, revision.build, digest)
    manifest = whole_manifest(path, digest)
    if manifest is None:
        require_writable(request.root, "llama_cpp_root")
        raise_if_any(upstream.upstream_problems(source, request.backend, platform.machine(), request.driver_version))
    return BuildPlan(revision, parts=parts, fingerprint=digest, path=path, manifest=manifest, published=source)


def _is_of(request: Request, manifest: Manifest, tag: str) -> bool:
    """Return whether a release holds the published binaries of ``tag``, a tag or a channel, for this kind of host."""
    parts = manifest.get("fingerprint_parts", {})
    named = {manifest.get("channel")} if tag in CHANNELS else {manifest.get("build"), manifest.get("nightly")}
    kind = (parts.get("backend"), parts.get("machine"))
    return manifest.get("origin") == "upstream" and kind == (request.backend, platform.machine()) and tag in named


def _is_newer(request: Request, manifest: Manifest, tag: str, answer: Published) -> bool:
    """Return whether a release of the channel ``tag`` is newer than the API's answer."""
    here, offered = version_of(manifest), parse_version(answer.build, answer.tag)
    if tag not in CHANNELS or here is None or offered is None:
        return False
    return _is_of(request, manifest, tag) and compare(here, offered) == 1


def meanwhile(request: Request, native: BuildPlan) -> BuildPlan:
    """Return the plan of the release that the instance has until ``native`` has proved to be faster.

    It is ``native`` itself if the instance runs it, or if no other binaries fit. ``beside`` of the plan says what has
    to be built beside the instance.
    """
    serving = _serving(request, native)
    if serving:
        return serving
    plan = instead_of_build(request, dataclasses.replace(native, manifest=None))
    if not (plan.manifest or plan.published):
        return dataclasses.replace(native, warnings=plan.warnings, refused=plan.refused)
    revision = native.revision
    target = target_of(request, native)
    if not background.read(folder_of(request)).is_due(target):
        return plan
    known = f"{revision.commit} {revision.build}" if revision.commit and revision.build else ""
    return dataclasses.replace(
        plan, beside={"build": revision.build or plan.revision.build, "target": target, "known": known}
    )


def folder_of(request: Request) -> pathlib.Path:
    """Return the folder of the request's instance."""
    return request.instances / "instances" / request.for_instance


def target_of(request: Request, native: BuildPlan) -> str:
    """Return what identifies a native build before its compiler is known."""
    parts = {
        "source": [request.source_name, native.revision.build, native.revision.commit],
        "backend": [request.backend, sorted(request.cuda_architectures)],
        "options": [request.cpu, request.cmake_options],
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def is_served(request: Request, release: Manifest) -> bool:
    """Return whether the instance runs with the release of this manifest."""
    served = read_manifest(_served(request)) or {}
    return bool(served) and served.get("fingerprint") == release.get("fingerprint")


def _served(request: Request) -> pathlib.Path:
    """Return the release of the instance's current generation; a path that does not exist if there is none."""
    manifest = read_json(folder_of(request) / "current" / "manifest.json", Record(others=Plain()), _LONGEST) or {}
    return pathlib.Path(str(manifest.get("release") or "/nonexistent"))


def _serving(request: Request, native: BuildPlan) -> BuildPlan | None:
    """Return the plan that keeps the native release with which the instance runs; None if it runs another one."""
    path = _served(request)
    release = whole_manifest(path, str((read_manifest(path) or {}).get("fingerprint", "")))
    if release is None or release.get("origin") == "upstream" or not native.parts:
        return None
    recorded = release.get("fingerprint_parts", {})
    wanted = {name: value for name, value in native.parts.items() if name not in _OF_THE_COMPILER}
    fits = all(recorded.get(name) == value for name, value in wanted.items())
    return existing(path, release) if fits else None
