# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""What release a host should have, whether it has it, and what would stand in the way of building it."""

from __future__ import annotations

import dataclasses
import pathlib
import platform
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils import build_host, git_source, llama_cpp_archive
from ansible_collections.llama_fleet.core.plugins.module_utils.files import require_writable, space_problem
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp_options import (
    CUDA,
    NATIVE,
    Target,
    architecture_problems,
    cmake_options,
    cpu_features,
    fingerprint,
    option_problems,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp_source import (
    SOURCE,
    Archive,
    Repository,
    Revision,
    archive_build,
    find_revision,
    pinned_revision,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError, raise_if_any
from ansible_collections.llama_fleet.core.plugins.module_utils.release_store import Manifest, find_release, release_path, whole_manifest

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.commands import Runner

_BUILD_SPACE = {"cpu": 3 * 10**9, CUDA: 12 * 10**9}


@dataclasses.dataclass(frozen=True)
class Request:
    """What the user asks for: the module's parameters, parsed."""

    source: Archive | Repository
    version: str
    backend: str
    cuda_toolkit: str
    cuda_architectures: tuple[str, ...]
    cpu: str
    cmake_options: dict[str, typing.Any]
    jobs: int
    root: pathlib.Path
    compiler_cache: pathlib.Path
    install_packages: bool
    index_url: str

    def problems(self, tentative: bool) -> list[Problem]:
        """What is wrong with the request itself. A ``tentative`` one may come before the toolkit is there."""
        found = option_problems(self.cmake_options, "llama_cpp_cmake_options")
        if self.jobs < 0:
            found.append(Problem("llama_cpp_jobs", str(self.jobs), "0 for as many as the host bears, or a positive number"))
        if not self.root.is_absolute():
            found.append(Problem("llama_cpp_root", f"'{self.root}'", "an absolute path"))
        if self.backend == CUDA:
            found += architecture_problems(self.cuda_architectures, "llama_cpp_cuda_architectures")
            if not self.cuda_architectures:
                found.append(Problem("llama_cpp_cuda_architectures", "an empty list", "at least one architecture such as '90-real' for the backend cuda"))
            if not self.cuda_toolkit and not tentative:
                found.append(Problem("llama_cpp_cuda_toolkit", "nothing", "the folder of a CUDA toolkit for the backend cuda"))
        return found


@dataclasses.dataclass(frozen=True)
class Plan:
    """The release that is wanted. ``fingerprint`` is empty as long as something it needs is not there yet.

    ``manifest`` is that of the release where the host has it, ``install`` what must be installed first.
    """

    host: build_host.BuildHost
    revision: Revision
    parts: dict[str, typing.Any] = dataclasses.field(default_factory=dict)
    fingerprint: str = ""
    path: pathlib.Path | None = None
    manifest: Manifest | None = None
    install: tuple[str, ...] = ()


def make_plan(request: Request, run: Runner, tentative: bool = False) -> Plan:
    """Look at the host and its sources; raises with everything that would stop the build. Changes nothing."""
    problems = request.problems(tentative)
    raise_if_any(problems)
    host = build_host.observe(isinstance(request.source, Repository))
    installable = request.install_packages and build_host.can_install()
    revision = _revision(request, host, run)
    toolkit = _toolkit_version(request, tentative, run)
    if revision is None or toolkit is None:
        plan = Plan(host, revision or Revision(commit="", build=""))
    else:
        plan = _identify(request, host, revision, toolkit, host.openssl or installable, run)
        if plan.manifest is None and installable and not host.openssl:
            # A release that had to be built without OpenSSL's headers stays good until they come.
            without = _identify(request, host, revision, toolkit, False, run)
            plan = without if without.manifest else plan
    if plan.manifest:
        return plan
    raise_if_any(_obstacles(request, host, installable))
    return dataclasses.replace(plan, install=host.missing if installable else ())


def _revision(request: Request, host: build_host.BuildHost, run: Runner) -> Revision | None:
    """Commit and build of the source; None where git must be installed before they can be known."""
    if isinstance(request.source, Archive):
        return Revision("", archive_build(request.source, request.version))
    pinned = pinned_revision(request.version)
    if pinned or "git" in host.missing:
        return pinned
    return find_revision(request.version, git_source.list_tags(request.source.url, SOURCE, run), request.source.url)


def _toolkit_version(request: Request, tentative: bool, run: Runner) -> str | None:
    """Empty without CUDA; None where the toolkit is still to come."""
    if request.backend != CUDA:
        return ""
    if tentative and not pathlib.Path(request.cuda_toolkit or "/nonexistent").exists():
        return None
    return build_host.toolkit_version(request.cuda_toolkit, "llama_cpp_cuda_toolkit", run)


def _identify(request: Request, host: build_host.BuildHost, revision: Revision, toolkit: str, openssl: bool, run: Runner) -> Plan:
    target = Target(request.backend, request.cpu, platform.machine(), tuple(sorted(request.cuda_architectures)))
    parts: dict[str, typing.Any] = {
        "source": request.source.sha256 if isinstance(request.source, Archive) else revision.commit,
        "build": revision.build,
        "backend": request.backend,
        "machine": target.machine,
        "cmake_options": cmake_options(target, revision.build, revision.commit, openssl, request.cmake_options),
        "cuda_architectures": list(target.cuda_architectures) if request.backend == CUDA else [],
        "cuda_toolkit": toolkit,
        "cpu_features": cpu_features(pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8")) if request.cpu == NATIVE else "",
    }
    if not host.compiler:
        # Without a compiler there is nothing to compare with one: a release that fits otherwise will do.
        found = find_release(request.root, parts)
        if found is None:
            return Plan(host, revision, parts)
        path, manifest = found
        return Plan(host, revision, manifest["fingerprint_parts"], manifest["fingerprint"], path, manifest)
    parts["compiler"] = build_host.compiler_version(host.compiler, run)
    digest = fingerprint(parts)
    path = release_path(request.root, revision.build, digest)
    return Plan(host, revision, parts, digest, path, whole_manifest(path, digest))


def _obstacles(request: Request, host: build_host.BuildHost, installable: bool) -> list[Problem]:
    """What would stop a build, as far as it can be known before."""
    found = []
    if host.required and not installable:
        found.append(build_host.missing_problem(host.required, "llama_cpp_install_packages"))
    try:
        require_writable(request.root, "llama_cpp_root")
    except ProblemError as error:
        found += error.problems
    space = space_problem(request.root, _BUILD_SPACE[request.backend], "llama_cpp_root")
    found += [space] if space else []
    if isinstance(request.source, Archive):
        found += llama_cpp_archive.problems(request.source, request.root, request.index_url)
    return found
