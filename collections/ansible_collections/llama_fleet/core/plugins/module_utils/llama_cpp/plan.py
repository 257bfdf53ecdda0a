# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Plan the release of a host: which one it needs, whether it has it, where to get it, and what prevents a build."""

from __future__ import annotations

import dataclasses
import pathlib
import platform
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch import git
from ansible_collections.llama_fleet.core.plugins.module_utils.host.files import require_writable, space_problem
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp import (
    archive,
    prebuilt,
    probes,
    update,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.build_plan import BuildPlan, existing
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.faults import CURES
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.options import (
    CUDA,
    cpu_problems,
    fingerprint,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.parts import planned_parts
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.request import OFFERED
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.source import (
    SOURCE,
    Archive,
    PackedSource,
    Repository,
    Revision,
    Upstream,
    archive_build,
    find_revision,
    pinned_revision,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError, raise_if_any
from ansible_collections.llama_fleet.core.plugins.module_utils.release import background, cache
from ansible_collections.llama_fleet.core.plugins.module_utils.release.store import (
    Manifest,
    find_release,
    release_path,
    whole_manifest,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.tools import compiler as build_host

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.index import IndexFile
    from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import Runner
    from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.request import Request

BUILD_SPACE = {"cpu": 3 * 10**9, CUDA: 12 * 10**9}


def make_plan(request: Request, run: Runner, tentative: bool = False) -> BuildPlan:
    """Inspect the host and the sources without changing anything; return the plan.

    Raises ProblemError with everything that would stop the release. A ``tentative`` plan may be made before the toolkit
    exists.
    """
    raise_if_any([*request.request_problems(), *_cpu_problems(request)])
    never = request.update == update.NEVER
    plan: BuildPlan | None
    if isinstance(request.source, PackedSource):
        plan = prebuilt.packed(request, request.source)
    elif isinstance(request.source, Upstream):
        plan = prebuilt.published(request, request.source)
    elif request.method == "upstream":
        plan = prebuilt.published(request, Upstream(request.reference))
    else:
        kept = _kept(request)
        plan = kept if kept or never else _taken_over(request, request.source, run, tentative)
        if plan is None and not never:
            plan = _from_source(request, request.source, run, tentative, _known_revision(request))
    if plan is None or (never and plan.manifest is None):
        raise ProblemError(update.nothing_there(request))
    return plan


def _kept(request: Request) -> BuildPlan | None:
    """Return the plan for an existing release that is good enough, or None if one must be looked for."""
    if request.update == update.ALWAYS:
        return None
    good = update.good_release(request, cpuinfo())
    if good and request.serves_meanwhile:
        # One that does not serve may have been rejected, so published binaries go first.
        served = update.good_release(request, cpuinfo(), lambda manifest: prebuilt.is_served(request, manifest))
        if served is None and request.update != update.NEVER:
            return None
        published = None if served else prebuilt.instead_of_build(request, BuildPlan(Revision("", "")))
        if published and published.manifest:
            return published
        good = served or good
    return existing(*good) if good else None


def _known_revision(request: Request) -> Revision | None:
    """Return the commit and the build of a repository that an earlier plan of this run was told."""
    return request.known.revision if request.known and isinstance(request.source, Repository) else None


def _taken_over(request: Request, source: Archive | Repository, run: Runner, tentative: bool) -> BuildPlan | None:
    """Return the plan of the build that an earlier plan of this run found necessary, or None if it no longer holds.

    It is worked out again from this host's state, but no server is asked and no compiler is probed a second time. So
    only the revision and the names of cures come from the earlier plan.
    """
    known = request.known
    cures = known.parts.get("cures") if known else None
    if not known or not isinstance(cures, list) or not all(name in CURES for name in cures):
        return None
    unasked = dataclasses.replace(request, cache=(), asks_index=False)
    plan = _from_source(unasked, source, run, tentative, _known_revision(request), cures)
    return plan if plan.published or plan.parts == known.parts else None


def _kept_newer(request: Request, revision: Revision, path: pathlib.Path, manifest: Manifest) -> BuildPlan:
    kept = existing(path, manifest)
    warning = (
        f"{request.source_name} offers {revision.build} as {update.channel(request)}, which is older than the release "
        f"{kept.revision.build} on this host. It stays; name the older one in llama_cpp_version to go back to it."
    )
    return dataclasses.replace(kept, warnings=(warning,))


def plan_again(request: Request, before: BuildPlan, run: Runner, tentative: bool = False) -> BuildPlan:
    """Return the plan of a build after the host or the request has changed; raise ProblemError as ``make_plan`` does.

    The commit that ``before`` found stays, so that the source is asked once in a run, and its warnings stay as well.
    """
    source = typing.cast("Archive | Repository", request.source)
    known = before.revision if before.revision.build else None
    asked = dataclasses.replace(request, asks_index=request.asks_index and before.listed is None)
    plan = _from_source(asked, source, run, tentative, known)
    warnings = tuple(dict.fromkeys((*before.warnings, *plan.warnings)))
    return dataclasses.replace(
        plan, refused=plan.refused or before.refused, listed=plan.listed or before.listed, warnings=warnings
    )


def install_git(request: Request, run: Runner) -> bool:
    """Install git if the source's commit is unknown without it; return whether that was done."""
    unknown = isinstance(request.source, Repository) and pinned_revision(request.version) is None
    installable = request.install_packages and build_host.can_install()
    if not (unknown and installable and "git" in build_host.observe(True).missing):
        return False
    build_host.install(("git",), run)
    return True


def _cpu_problems(request: Request) -> list[Problem]:
    return cpu_problems(request.cpu, platform.machine(), "llama_cpp_cpu", cpuinfo()) if request.from_source else []


def cpuinfo() -> str:
    """Return the text of this host's /proc/cpuinfo."""
    return pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8")


def _from_source(
    request: Request,
    source: Archive | Repository,
    run: Runner,
    tentative: bool,
    known: Revision | None = None,
    cures: list[str] | None = None,
) -> BuildPlan:
    host = build_host.observe(isinstance(source, Repository))
    installable = request.install_packages and build_host.can_install()
    revision = known or _revision(request, source, host, run)
    toolkit = _toolkit_version(request, run)
    if revision is None or toolkit is None:
        plan = BuildPlan(revision or Revision(commit="", build=""), host)
    else:
        plan = _identify(request, host, revision, toolkit, host.openssl or installable, run, cures)
        if plan.manifest is None and installable and not host.openssl:
            # A release that had to be built without OpenSSL headers stays good until they are installed.
            without = _identify(request, host, revision, toolkit, False, run, plan.parts.get("cures"))
            plan = without if without.manifest else plan
        newer = update.newer_here(request, revision, cpuinfo()) if plan.manifest is None else None
        if newer:
            return _kept_newer(request, revision, *newer)
        if plan.manifest is None:
            plan = _look_in_caches(request, plan)
    if request.serves_meanwhile and not plan.cached:
        plan = prebuilt.meanwhile(request, plan)
    elif not (plan.manifest or plan.cached or request.native):
        plan = prebuilt.instead_of_build(request, plan)
    if plan.manifest or plan.cached or plan.published:
        return plan
    if request.asks_first and request.reference:
        return dataclasses.replace(plan, path=None, would_compile=True)
    if request.method == "packed":
        none_fits = f"packed, and no packed release of this kind of host in {cache.CACHE} or on the controller"
        raise ProblemError(Problem("llama_cpp_method", none_fits, "one that fits", "pack one, or set it to auto"))
    listed, problems = _look_for(request, source)
    raise_if_any([*_obstacles(request, host, installable, tentative), *problems])
    return dataclasses.replace(plan, install=host.missing if installable else (), would_compile=True, listed=listed)


def _look_for(request: Request, source: Archive | Repository) -> tuple[IndexFile | None, list[Problem]]:
    """Return the source archive as the index lists it, and what is wrong with it."""
    if isinstance(source, Archive) and (request.asks_index or not source.on_index):
        return archive.look(source, request.root, request.index_url)
    return None, []


def _revision(
    request: Request, source: Archive | Repository, host: build_host.BuildHost, run: Runner
) -> Revision | None:
    """Return commit and build of the source, or None if git must be installed to know them."""
    if isinstance(source, Archive):
        return Revision("", archive_build(source, request.version))
    pinned = pinned_revision(request.version)
    if pinned or "git" in host.missing:
        return pinned
    return find_revision(request.version, git.list_tags(source.url, SOURCE, run), source.url)


def _toolkit_version(request: Request, run: Runner) -> str | None:
    """Return the toolkit's version: empty without CUDA, None while it is unknown."""
    if request.backend != CUDA:
        return ""
    if _has_toolkit(request):
        return build_host.toolkit_version(request.cuda_toolkit, "llama_cpp_cuda_toolkit", run)
    return request.cuda_toolkit_version or None


def _has_toolkit(request: Request) -> bool:
    return bool(request.cuda_toolkit) and pathlib.Path(request.cuda_toolkit).exists()


def _identify(
    request: Request,
    host: build_host.BuildHost,
    revision: Revision,
    toolkit: str,
    openssl: bool,
    run: Runner,
    cures: list[str] | None = None,
) -> BuildPlan:
    """Return the plan of the release with these properties. Probes the compiler unless the release exists."""
    parts = planned_parts(request, revision, toolkit, openssl, cpuinfo())
    if host.compiler:
        parts["compiler"] = build_host.compiler_version(host.compiler, run)
    # Without a compiler there is nothing to compare or to probe: a release that fits otherwise will do.
    fitting = find_release(request.root, parts)
    if fitting is not None:
        path, manifest = fitting
        return BuildPlan(revision, host, manifest.get("fingerprint_parts", {}), manifest["fingerprint"], path, manifest)
    if not host.compiler:
        return BuildPlan(revision, host, parts)
    if cures is None:
        needed = probes.find_cures(host.compiler, parts["cmake_options"], parts["machine"], cpuinfo(), run)
        cures = [cure.name for cure in needed]
    parts["cures"] = cures
    digest = fingerprint(parts)
    path = release_path(request.root, revision.build, digest)
    return BuildPlan(revision, host, parts, digest, path, whole_manifest(path, digest))


def _look_in_caches(request: Request, plan: BuildPlan) -> BuildPlan:
    """Return the plan with a matching packed release, if there is one."""
    if request.method not in ("auto", background.METHOD, "packed"):
        return plan
    warnings: list[str] = []
    cached = cache.find(request.cache, plan.parts, plan.fingerprint, warnings)
    cached = cached or cache.match(request.offered, OFFERED, plan.parts, plan.fingerprint)
    if cached is None:
        return dataclasses.replace(plan, warnings=tuple(warnings))
    require_writable(request.root, "llama_cpp_root")
    path = request.root / "releases" / cached.name
    return dataclasses.replace(plan, fingerprint=cached.fingerprint, path=path, cached=cached, warnings=tuple(warnings))


def _obstacles(request: Request, host: build_host.BuildHost, installable: bool, tentative: bool) -> list[Problem]:
    """Return the problems that would stop a build, as far as known beforehand."""
    problems = []
    if host.required and not installable:
        problems.append(build_host.missing_problem(host.required, "llama_cpp_install_packages"))
    if request.backend == CUDA and not tentative and not _has_toolkit(request):
        named = f"'{request.cuda_toolkit}'" if request.cuda_toolkit else "nothing"
        problems.append(Problem("llama_cpp_cuda_toolkit", named, "the folder of a CUDA toolkit"))
    try:
        require_writable(request.root, "llama_cpp_root")
    except ProblemError as error:
        problems += error.problems
    space = space_problem(request.root, BUILD_SPACE[request.backend], "llama_cpp_root")
    problems += [space] if space else []
    return problems
