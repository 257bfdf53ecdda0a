# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Take a release that was built elsewhere: a packed one of our own, or the project's binaries."""

from __future__ import annotations

import platform
import shutil
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.rules import bare
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp import upstream
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.options import CUDA
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.source import SOURCE, PackedSource, Upstream
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.release import cache as release_cache
from ansible_collections.llama_fleet.core.plugins.module_utils.release import pack, store
from ansible_collections.llama_fleet.core.plugins.module_utils.release.contents import server_options
from ansible_collections.llama_fleet.core.plugins.module_utils.release.smoke_test import has_gpu, smoke_test_as_it_is
from ansible_collections.llama_fleet.core.plugins.module_utils.tools import compiler
from ansible_collections.llama_fleet.core.plugins.module_utils.tools.import_or_install import borrower

if typing.TYPE_CHECKING:
    import pathlib

    from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import Runner
    from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.build_plan import BuildPlan
    from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.request import Request
    from ansible_collections.llama_fleet.core.plugins.module_utils.progress import Progress


def take(request: Request, plan: BuildPlan, path: pathlib.Path, progress: Progress, run: Runner) -> store.Manifest:
    """Bring the release of ``plan`` to ``path`` and test it; the caller holds the release's lock.

    Raises ProblemError if it does not work on this host.
    """
    staged = store.staging(path)
    try:
        if isinstance(request.source, Upstream):
            manifest = _upstream(request, request.source, plan, staged, progress)
        else:
            manifest = _packed(request, plan, staged, progress, run)
        programs = staged / "bin"
        _complete(request, programs, progress, run)
        progress.stage("testing the release")
        outcome, removed = smoke_test_as_it_is(programs, request.backend == CUDA and has_gpu(), run)
        if outcome.failure:
            fix = outcome.fix or f"build it here: set {SOURCE} to an archive or a repository"
            raise ProblemError(Problem("release", outcome.failure, "binaries that decode tokens on this host", fix))
        if removed or "files" not in manifest:
            manifest = {**manifest, "options": server_options(programs, run), **store.describe(staged)}
        manifest = {**manifest, "smoke_test": outcome.report, "cured": [*manifest.get("cured", []), *removed]}
        store.publish(staged, path, manifest)
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    return manifest


def _complete(request: Request, programs: pathlib.Path, progress: Progress, run: Runner) -> None:
    """Install the system libraries that the programs need and this host lacks, if permitted."""
    missing = compiler.missing_libraries({file.name for file in programs.iterdir()})
    if missing and request.install_packages and compiler.can_install():
        progress.stage(f"installing {' '.join(compiler.packages(missing))}")
        compiler.install(missing, run)


def _packed(request: Request, plan: BuildPlan, staged: pathlib.Path, progress: Progress, run: Runner) -> store.Manifest:
    folder = request.root / "sources"
    if isinstance(request.source, PackedSource):
        reference, subject = request.source.reference, SOURCE
        obtained = release_cache.obtain(
            reference, request.source.sha256, folder, request.trusted_signers, progress, run, subject
        )
    else:
        cached = typing.cast("release_cache.Cached", plan.cached)
        reference, subject = cached.reference, release_cache.CACHE
        obtained = release_cache.bring(cached, folder, request.trusted_signers, progress, run)
    packages = borrower(request.root, request.index_url, "llama_cpp_index_url", progress)
    with obtained as archive:
        manifest = pack.unpack(archive, bare(reference), staged, packages, progress)
    if not str(manifest.get("fingerprint")).startswith(plan.fingerprint):
        other_release = f"{bare(reference)}, which holds the release {str(manifest.get('fingerprint'))[:12]}"
        raise ProblemError(
            Problem(subject, other_release, f"the release {plan.fingerprint[:12]}", "pack it again, or do not trust it")
        )
    return {**manifest, "origin": "packed", "taken_from": bare(reference)}


def _upstream(
    request: Request, source: Upstream, plan: BuildPlan, staged: pathlib.Path, progress: Progress
) -> store.Manifest:
    url = request.upstream_url
    upstream.obtain(
        source, request.backend, platform.machine(), request.driver_version, request.root, staged, progress, url
    )
    return {
        "build": source.tag,
        "commit": "",
        "fingerprint": plan.fingerprint,
        "fingerprint_parts": plan.parts,
        "backend": request.backend,
        "source": request.source_name,
        "origin": "upstream",
    }
