# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Make a release of binaries that were built elsewhere: a packed release of our own, or the project's binaries."""

from __future__ import annotations

import pathlib
import platform
import shutil
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.rules import bare
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.build_plan import (
    BuildPlan,
    why_packed,
    why_published,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.options import CUDA
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.source import (
    SOURCE,
    PackedSource,
    Upstream,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.versions import (
    CHANNELS,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError, raise_if_any
from ansible_collections.llama_fleet.core.plugins.module_utils.release import cache as release_cache
from ansible_collections.llama_fleet.core.plugins.module_utils.release import pack, store
from ansible_collections.llama_fleet.core.plugins.module_utils.release.contents import server_options
from ansible_collections.llama_fleet.core.plugins.module_utils.release.smoke_test import has_gpu, smoke_test_as_it_is
from ansible_collections.llama_fleet.core.plugins.module_utils.tools import compiler
from ansible_collections.llama_fleet.core.plugins.module_utils.tools.build_pins import PINS
from ansible_collections.llama_fleet.core.plugins.module_utils.tools.import_or_install import borrower

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import Runner
    from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.request import Request
    from ansible_collections.llama_fleet.core.plugins.module_utils.progress import Progress

import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.upstream import (
    URL,
    Asset,
    assets,
    upstream_problems,
)

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import Runner
    from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.request import Request
    from ansible_collections.llama_fleet.core.plugins.module_utils.progress import Progress

import contextlib
import os
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch import verified
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.download import fetch, probe
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.unpack import unpack_tree
from ansible_collections.llama_fleet.core.plugins.module_utils.host.files import sha256_of
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.compile import PROGRAMS
from ansible_collections.llama_fleet.core.plugins.module_utils.progress import BYTES, Progress
from ansible_collections.llama_fleet.core.plugins.module_utils.release.contents import LICENCES

_LARGEST = 4 << 30  # bytes of a published archive; those for CUDA have about 500 MB


def obtain(
    upstream: Upstream,
    backend: str,
    machine: str,
    driver_version: str,
    root: pathlib.Path,
    staged: pathlib.Path,
    progress: Progress,
    url: str = URL,
) -> None:
    """Fill ``staged``/bin and ``staged``/licenses; the archives are kept below ``root``/sources.

    Raises ProblemError with the problems of ``upstream_problems``.
    """
    raise_if_any(upstream_problems(upstream, backend, machine, driver_version))
    wanted = assets(upstream, backend, machine, driver_version, url)
    kept = [_fetched(asset, root, progress) for asset in wanted]
    for path, asset, mark in zip(kept, wanted, ("llama-server", "libcudart.so")):
        progress.stage(f"unpacking {asset.name}")
        # The name is removed together with the release's staging folder after a kill.
        folder = staged.with_name(f"{staged.name}-unpacked")
        shutil.rmtree(folder, ignore_errors=True)
        try:
            with _verified(path, asset) as archive:
                unpack_tree(archive, asset.name, folder, _folder_of(mark, asset.name), SOURCE)
            _take(folder, staged)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _verified(path: pathlib.Path, asset: Asset) -> typing.Iterator[typing.IO[bytes]]:
    archive, digest = verified.opened(path, path.parent)
    with archive:
        if digest != asset.sha256:
            raise ProblemError(
                Problem(
                    SOURCE, f"sha256 {digest} of {path}", f"sha256 {asset.sha256}", "remove that file and run again"
                )
            )
        yield archive


def _fetched(asset: Asset, root: pathlib.Path, progress: Progress) -> pathlib.Path:
    """Return the downloaded archive, which is named by its checksum."""
    kept = root / "sources" / f"{asset.sha256[:16]}.tar.gz"
    if not kept.exists() or sha256_of(kept) != asset.sha256:
        progress.stage(f"fetching {asset.name}")
        size = probe(asset.url, SOURCE).size
        fetch(
            asset.url, kept, asset.sha256, SOURCE, seen=lambda count: progress.update(count, size, BYTES), most=_LARGEST
        )
    return kept


def _folder_of(mark: str, archive: str) -> typing.Callable[[typing.Iterable[str]], pathlib.PurePosixPath]:
    """Return a chooser for the folder that holds a file whose name begins with ``mark``."""

    def choose(names: typing.Iterable[str]) -> pathlib.PurePosixPath:
        folders = [path.parent for path in map(pathlib.PurePosixPath, names) if path.name.startswith(mark)]
        if not folders:
            wanted = "an archive that llama.cpp's project published"
            raise ProblemError(
                Problem(SOURCE, f"{archive}, which holds no {mark}", wanted, "correct llama_cpp_upstream_url")
            )
        return min(folders, key=lambda path: (len(path.parts), str(path)))

    return choose


def _take(folder: pathlib.Path, staged: pathlib.Path) -> None:
    """Move the parts of a release from ``folder`` into ``staged``."""
    programs = staged / "bin"
    programs.mkdir(parents=True, exist_ok=True)
    for path in sorted(folder.iterdir()):
        if path.name in PROGRAMS or ".so" in path.suffixes:
            os.rename(path, programs / path.name)
    if (folder / "LICENSE").is_file():
        (staged / LICENCES).mkdir(parents=True, exist_ok=True)
        os.rename(folder / "LICENSE", staged / LICENCES / "LICENSE")


def take(request: Request, plan: BuildPlan, path: pathlib.Path, progress: Progress, run: Runner) -> store.Manifest:
    """Bring the release of ``plan`` to ``path`` and test it; the caller holds the release's lock.

    Raises ProblemError if it does not work on this host.
    """
    staged = store.staging(path)
    try:
        if plan.published:
            manifest = _bring_published(request, plan.published, plan, staged, progress)
        else:
            manifest = _bring_packed(request, plan, staged, progress, run)
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


def _bring_packed(
    request: Request, plan: BuildPlan, staged: pathlib.Path, progress: Progress, run: Runner
) -> store.Manifest:
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
    packages = borrower(request.root, request.index_url, "llama_cpp_index_url", progress, PINS)
    with obtained as archive:
        manifest = pack.unpack(archive, bare(reference), staged, packages, progress)
    if not str(manifest.get("fingerprint")).startswith(plan.fingerprint):
        other_release = f"{bare(reference)}, which holds the release {str(manifest.get('fingerprint'))[:12]}"
        raise ProblemError(
            Problem(subject, other_release, f"the release {plan.fingerprint[:12]}", "pack it again, or do not trust it")
        )
    return {**manifest, "origin": "packed", "taken_from": bare(reference), "why": why_packed(request)}


def _bring_published(
    request: Request, source: Upstream, plan: BuildPlan, staged: pathlib.Path, progress: Progress
) -> store.Manifest:
    url = request.upstream_url
    obtain(source, request.backend, platform.machine(), request.driver_version, request.root, staged, progress, url)
    return {
        "build": plan.revision.build,
        "commit": plan.revision.commit,
        "nightly": plan.revision.nightly,
        "channel": request.reference if request.reference in CHANNELS else "",
        "fingerprint": plan.fingerprint,
        "fingerprint_parts": plan.parts,
        "backend": request.backend,
        "source": request.source_name,
        "origin": "upstream",
        "why": why_published(request),
    }
