# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Make a planned release: install packages and tools, fetch the source, compile, test, and publish by one rename."""

from __future__ import annotations

import dataclasses
import pathlib
import shutil
import tempfile
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch import children, git
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.unpack import unpack_tree
from ansible_collections.llama_fleet.core.plugins.module_utils.host import build_user, cpus
from ansible_collections.llama_fleet.core.plugins.module_utils.host.files import locked
from ansible_collections.llama_fleet.core.plugins.module_utils.host.memory import memory_available
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp import archive as llama_cpp_archive
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp import recipe, update
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.bring import take
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.build_plan import why_built
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.compile import (
    Compilation,
    RefusedError,
    copy_openmp,
    copy_toolkit_libraries,
    strip_symbols,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.compiler_cache import (
    compiler_cache,
    ensure_build_tools,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.faults import AMX_SHIM, CURES, NO_AMX, Cure
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.options import CUDA, X86
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.plan import plan_again
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.source import SOURCE, Archive, find_tree
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.release import store
from ansible_collections.llama_fleet.core.plugins.module_utils.release.contents import copy_licences, server_options
from ansible_collections.llama_fleet.core.plugins.module_utils.release.smoke_test import Outcome, has_gpu, smoke_test
from ansible_collections.llama_fleet.core.plugins.module_utils.tools import compiler
from ansible_collections.llama_fleet.core.plugins.module_utils.tools.venv import folder

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import Runner
    from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.build_plan import BuildPlan
    from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.compiler_cache import CompilerCache
    from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.request import Request
    from ansible_collections.llama_fleet.core.plugins.module_utils.progress import Progress


def make_release(request: Request, plan: BuildPlan, progress: Progress, run: Runner) -> tuple[BuildPlan, bool]:
    """Carry out ``plan``; return the final plan and whether this run made the release. Raises ProblemError."""
    if plan.path is None and not plan.would_compile:
        wanted = "the API's answer, which the action of this module brings"
        raise ProblemError(Problem(SOURCE, f"upstream:{request.reference} without checksums", wanted))
    if not plan.would_compile:
        try:
            return _locked(request, plan, progress, lambda path: take(request, plan, path, progress, run))
        except ProblemError as error:
            if not request.from_source or request.method not in ("auto", "background", "source"):
                raise
            # What was unusable is not tried again.
            request = dataclasses.replace(request, cache=(), offered=(), published=None)
            plan = _build_instead(request, plan, error, run)
    if plan.install:
        progress.stage(f"installing {' '.join(compiler.packages(plan.install))}")
        plan = _install(request, plan, run)
    if plan.manifest:
        return plan, False
    if plan.cached:  # found now that the host's compiler is known
        return make_release(request, plan, progress, run)
    built, made = _locked(request, plan, progress, lambda path: _build(request, plan, path, progress, run))
    remarks = (build_user.remark(_read_by_builds(request)), _plain_remark(request, plan)) if made else ()
    return dataclasses.replace(built, warnings=(*built.warnings, *filter(None, remarks))), made


def _locked(
    request: Request, plan: BuildPlan, progress: Progress, make: typing.Callable[[pathlib.Path], store.Manifest]
) -> tuple[BuildPlan, bool]:
    """Make the release unless another run made it while this one waited; return the plan and whether this run did."""
    path = typing.cast("pathlib.Path", plan.path)
    with locked(
        request.root / "locks" / f"{path.name}.lock",
        lambda: progress.stage(f"waiting for another run that makes {path.name}"),
    ):
        manifest = store.whole_manifest(path, plan.fingerprint)
        made = manifest is None
        if manifest is None:
            store.clear_leftovers(request.root, path.name)
            manifest = make(path)
    parts = manifest.get("fingerprint_parts", {})
    return dataclasses.replace(plan, parts=parts, fingerprint=manifest["fingerprint"], manifest=manifest), made


def _build_instead(request: Request, plan: BuildPlan, error: ProblemError, run: Runner) -> BuildPlan:
    binaries = "project's binaries were" if plan.published else "packed release was"
    warning = f"The {binaries} unusable, so this host builds its own. {error}"
    refused = f"the {binaries} unusable ({error.problems[0].found})"
    return plan_again(request, dataclasses.replace(plan, refused=refused, warnings=(*plan.warnings, warning)), run)


def _install(request: Request, plan: BuildPlan, run: Runner) -> BuildPlan:
    """Install the missing packages and plan again; optional packages may stay missing."""
    try:
        compiler.install(plan.install, run)
    except ProblemError:
        if plan.host.required:
            raise
        return plan_again(dataclasses.replace(request, install_packages=False), plan, run)
    return plan_again(request, plan, run)


def _build(request: Request, plan: BuildPlan, path: pathlib.Path, progress: Progress, run: Runner) -> store.Manifest:
    builds = request.root / "builds"
    builds.mkdir(parents=True, exist_ok=True)
    # A new folder for every run: compilers that survived a kill -9 cannot write into the next build.
    work = pathlib.Path(tempfile.mkdtemp(prefix=f"{path.name}.work-", dir=builds))
    staged = store.staging(path)
    try:
        program = ensure_build_tools(request.root, request.index_url, "llama_cpp_index_url", progress, run)
        builder = build_user.builder_of(work, _read_by_builds(request), run)
        _bring_source(request, plan, work / "source", progress, run)
        compilation = _compilation(request, plan, work, builds / f"{path.name}.log")
        compilation.log.unlink(missing_ok=True)
        digest = plan.parts["cpu_features"]
        with compiler_cache(program, request.compiler_cache, work, digest, request.backend == CUDA, builder) as cache:
            compilation = _compile(request, plan, compilation, cache, progress, builder.run)
            outcome = _stage_and_test(request, plan, compilation, staged, progress, builder.run)
            if outcome.illegal_instruction and plan.parts["machine"] in X86 and NO_AMX not in compilation.cures:
                # No probe has told this. The smoke test has the last word.
                compilation = dataclasses.replace(compilation, cures=_without_amx(compilation.cures))
                compilation.run(cache, progress, builder.run)
                outcome = _stage_and_test(request, plan, compilation, staged, progress, builder.run)
        if outcome.failure:
            raise ProblemError(_unusable(outcome, compilation))
        copy_licences(work / "source", staged, pathlib.Path(request.cuda_toolkit) if request.backend == CUDA else None)
        manifest = {
            **_manifest(request, plan, staged, outcome, compilation.cures),
            "options": server_options(staged / "bin", builder.run),
        }
        store.publish(staged, path, manifest)
        return manifest
    finally:
        shutil.rmtree(work, ignore_errors=True)
        shutil.rmtree(staged, ignore_errors=True)


def _compile(
    request: Request,
    plan: BuildPlan,
    compilation: Compilation,
    cache: CompilerCache,
    progress: Progress,
    run: Runner,
) -> Compilation:
    """Compile; plainly if that fails in a batch, in a linker or in CMake. Return the compilation that succeeded."""
    try:
        with children.builds(run) as networked:
            compilation.run(cache, progress, networked)
    except RefusedError as error:
        plainly = dataclasses.replace(compilation, recipe=compilation.recipe.plainly())
        with children.builds(run) as networked:
            plainly.run(cache, progress, networked)
        if not error.killed:  # for lack of memory, which says nothing about the source
            recipe.remember_refusal(request.root / "builds", plan.parts["source"], error.error)
        return plainly
    return compilation


def _without_amx(cures: tuple[Cure, ...]) -> tuple[Cure, ...]:
    return (*(cure for cure in cures if cure is not AMX_SHIM), NO_AMX)


def _plain_remark(request: Request, plan: BuildPlan) -> str:
    """Return a sentence that explains why a build took long; empty if it did not."""
    error = recipe.refusal(request.root / "builds", plan.parts["source"])
    if not error:
        return ""
    return (
        f"{plan.revision.build} was compiled as its own CMake files say, which takes about twice the CPU time, because "
        f"it does not compile in batches: {error}"
    )


def _read_by_builds(request: Request) -> list[pathlib.Path]:
    """List the paths outside the work folder that compilers read."""
    toolkit = [pathlib.Path(request.cuda_toolkit)] if request.backend == CUDA else []
    tools = [folder(request.root) / "bin" / name for name in ("cmake", "ninja", "python")]
    return [request.root / "builds", *tools, request.compiler_cache.parent, *toolkit]


def _bring_source(request: Request, plan: BuildPlan, target: pathlib.Path, progress: Progress, run: Runner) -> None:
    if isinstance(request.source, Archive):
        with llama_cpp_archive.obtain(
            request.source, request.root, request.index_url, progress, place_of(request, plan)
        ) as archive:
            progress.stage(f"unpacking {request.source.name}")
            unpack_tree(archive, request.source.name, target, find_tree, SOURCE)
        return
    url = request.source_name
    progress.stage(f"fetching commit {plan.revision.commit[:9]}")
    with locked(git.mirror(request.root, url).with_suffix(".lock")):
        git.check_out(request.root, url, plan.revision.commit, target, SOURCE, run)
    names = [str(file.relative_to(target)) for file in target.rglob("CMakeLists.txt")]
    if str(find_tree(names)) != ".":
        raise ProblemError(
            Problem(
                SOURCE,
                f"{url}, which holds no source of llama.cpp",
                "a repository with its CMakeLists.txt, ggml/ and tools/server/",
            )
        )


def place_of(request: Request, plan: BuildPlan) -> tuple[str, int]:
    """Return the address of the source archive that a plan of this run was told, and its size in bytes."""
    if plan.listed:
        return plan.listed.url, plan.listed.size
    return (request.known.url, request.known.size) if request.known else ("", 0)


def _compilation(request: Request, plan: BuildPlan, work: pathlib.Path, log: pathlib.Path) -> Compilation:
    cuda = request.backend == CUDA
    plain = recipe.chosen_by_user(request.cmake_options) or bool(recipe.refusal(log.parent, plan.parts["source"]))
    return Compilation(
        work=work,
        log=log,
        tools=folder(request.root) / "bin",
        compiler=plan.host.compiler,
        options=plan.parts["cmake_options"],
        recipe=recipe.choose(request.jobs, cpus.observe().jobs, memory_available(), cuda, plain),
        cures=tuple(CURES[name] for name in plan.parts["cures"]),
        cuda_toolkit=request.cuda_toolkit if cuda else "",
        user_options=request.cmake_options,
    )


def _stage_and_test(
    request: Request, plan: BuildPlan, compilation: Compilation, staged: pathlib.Path, progress: Progress, run: Runner
) -> Outcome:
    """Assemble the release in its staging folder, and test it there."""
    shutil.rmtree(staged, ignore_errors=True)
    programs = staged / "bin"
    strip_symbols(compilation.programs, run)
    store.copy_programs(compilation.programs, programs)
    copy_openmp(compilation.compiler, programs, run)
    if request.backend == CUDA:
        major = plan.parts["cuda_toolkit"].partition(".")[0]
        copy_toolkit_libraries(pathlib.Path(request.cuda_toolkit), major, programs, "llama_cpp_cuda_toolkit")
    progress.stage("testing the release")
    return smoke_test(programs, request.backend == CUDA and has_gpu(), run)


def _manifest(
    request: Request, plan: BuildPlan, staged: pathlib.Path, outcome: Outcome, cures: tuple[Cure, ...]
) -> store.Manifest:
    return {
        "build": plan.revision.build,
        "commit": plan.revision.commit,
        "nightly": plan.revision.nightly,
        "channel": update.channel(request),
        "fingerprint": plan.fingerprint,
        "fingerprint_parts": plan.parts,
        "backend": request.backend,
        "source": request.source_name,
        "origin": "built",
        "why": why_built(request, plan),
        "smoke_test": outcome.report,
        "cured": [cure.name for cure in cures],
        **store.describe(staged),
    }


def _unusable(outcome: Outcome, compilation: Compilation) -> Problem:
    again = ", also without AMX" if NO_AMX in compilation.cures else ""
    fix = (
        outcome.fix
        or f"read {compilation.log}; llama_cpp_cpu: portable builds without the special features of this CPU"
    )
    return Problem("release", f"{outcome.failure}{again}", "a build that decodes tokens on this host", fix)
