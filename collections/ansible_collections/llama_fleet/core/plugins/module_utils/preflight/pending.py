# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Determine the pending work of an instance from its plans, or else by looking at the host without the network."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import platform
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.cuda import choice as cuda_choice
from ansible_collections.llama_fleet.core.plugins.module_utils.cuda import plan as cuda
from ansible_collections.llama_fleet.core.plugins.module_utils.cuda import trial as cuda_trial
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.rules import bare
from ansible_collections.llama_fleet.core.plugins.module_utils.host import commands
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp import plan as llama_cpp_plan
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.source import Repository
from ansible_collections.llama_fleet.core.plugins.module_utils.model import choice as model_choice
from ansible_collections.llama_fleet.core.plugins.module_utils.model import plan as model_plan
from ansible_collections.llama_fleet.core.plugins.module_utils.model import store as model_store
from ansible_collections.llama_fleet.core.plugins.module_utils.model import verify as model_parts
from ansible_collections.llama_fleet.core.plugins.module_utils.model.local import find_files
from ansible_collections.llama_fleet.core.plugins.module_utils.model.reuse import cached_hub, gap
from ansible_collections.llama_fleet.core.plugins.module_utils.model.source import HubSource, PathSource, WheelSource
from ansible_collections.llama_fleet.core.plugins.module_utils.model.verify import Checker
from ansible_collections.llama_fleet.core.plugins.module_utils.preflight.check import Check, all_wrong, fine, wrong
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.progress import Progress
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.options import CUDA

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import Runner
    from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.request import Request
    from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.source import Upstream
    from ansible_collections.llama_fleet.core.plugins.module_utils.model.request import Request as ModelRequest
    from ansible_collections.llama_fleet.core.plugins.module_utils.preflight.wanted import Wanted

MIB = 1 << 20
# Codes by the subject of a plan's problem; others belong to the release.
_CODES = {
    "compiler": "compiler",
    "git": "git",
    "llama_cpp_source": "source",
    "llama_cpp_version": "source",
    "llama_cpp_root": "rights",
}
# Subjects that are checked for all instances together.
_ELSEWHERE = ("disk space",)


@dataclasses.dataclass(frozen=True)
class Work:
    """The pending work of an instance.

    ``model`` is whether files of it must be fetched, ``size`` the bytes to fetch or to copy (None if unknown), and
    ``taken`` those of them that are on the disk already or will be linked. ``binaries`` are the project's binaries to
    fetch.
    """

    release: bool = False
    compiles: bool = False
    toolkit: bool = False
    model: bool = False
    size: int | None = 0
    taken: int = 0
    urls: tuple[str, ...] = ()
    binaries: Upstream | None = None

    @property
    def places_files(self) -> bool:
        """Return whether any file of the model must be fetched or copied."""
        return self.model or bool(self.size)


def planned(wanted: Wanted) -> Work:
    """Read the pending work from the plans."""
    release, model = wanted.plans.get("llama_cpp") or {}, wanted.plans.get("gguf_model") or {}
    compiles = bool(release.get("would_compile"))
    toolkit = compiles and bool((wanted.plans.get("cuda_toolkit") or {}).get("would_change"))
    plan = model.get("plan") or {}
    fetch, copy = plan.get("fetch") or [], plan.get("copies") or []
    waits = bool(plan.get("waits_for"))
    sums = [str(file.get("sha256") or "") for file in model.get("files") or []]
    if wanted.model and isinstance(wanted.model.source, WheelSource):
        sums.append(wanted.model.source.sha256)
    folder = plan.get("folder")
    parts = model_store.parts_folder(pathlib.Path(folder)) if folder else None
    linked = sum(int(file["size"]) - int(file["disk"]) for file in copy)
    return Work(
        release=bool(release.get("would_change")),
        compiles=compiles,
        toolkit=toolkit,
        model=bool(fetch) or waits,
        size=None if waits else sum(int(file["size"]) for file in [*fetch, *copy]),
        taken=linked + sum(model_parts.taken(parts / sha256) for sha256 in sums if sha256 and parts),
        urls=tuple(str(file["url"]) for file in fetch if file["url"]),
    )


def reused(wanted: Wanted) -> list[Check]:
    """Tell which files the model's plan takes from caches of other tools."""
    copies = ((wanted.plans.get("gguf_model") or {}).get("plan") or {}).get("copies") or []
    return [
        fine("model", "gguf_model_source", f"{file['from']}, {int(file['size']) // MIB} MiB, from where it is taken")
        for file in copies
    ]


def looked(wanted: Wanted, run: Runner, limit: float) -> tuple[Work, list[Check]]:
    """Determine the pending work by looking at the host, and check whether it can be done.

    Only a git repository is asked over the network, for its tags.
    """
    checks: list[Check] = []
    release, compiles, needs_toolkit = False, False, False
    binaries: Upstream | None = None
    if wanted.release:
        try:
            plan = llama_cpp_plan.make_plan(_unasked(wanted.release), _bounded(run, limit), tentative=True)
            release, compiles = plan.manifest is None, plan.would_compile
            if isinstance(wanted.release.source, Repository) and "git" not in plan.host.missing:
                source = f"{bare(wanted.release.source.url)} at {plan.revision.build}"
                checks.append(fine("source", "llama_cpp_source", source))
            binaries = None if plan.manifest else plan.published
            if binaries:
                checks.append(fine("release", "llama_cpp_source", f"{plan.revision.build}, llama.cpp's own binaries"))
            if plan.refused:
                checks.append(fine("release", "llama_cpp_source", f"to be built, because {plan.refused}"))
            if not release:
                checks.append(fine("release", "llama_cpp_source", f"{plan.path}, which exists already"))
        except ProblemError as error:
            release, compiles = True, wanted.release.from_source
            checks += [
                wrong(_CODES.get(problem.subject, "release"), problem)
                for problem in error.problems
                if problem.subject not in _ELSEWHERE
            ]
        if compiles and wanted.backend == CUDA:
            needs_toolkit = _toolkit(wanted, run, checks)
    model, size = _model(wanted, checks)
    return Work(release, compiles, needs_toolkit, model, size, binaries=binaries), checks


def _unasked(request: Request) -> Request:
    """Return the request whose plan asks neither index nor cache; they have own time limits."""
    return dataclasses.replace(request, asks_index=False, cache=(), offered=())


def _bounded(run: Runner, limit: float) -> Runner:
    """Return a runner that limits git's network access to ``limit`` seconds."""

    def bounded(call: commands.Call) -> commands.Result:
        asks = list(call.command[:2]) == ["git", "ls-remote"]
        return dataclasses.replace(call, timeout=limit if asks else call.timeout).by(run)

    return commands.through(bounded)


def _toolkit(wanted: Wanted, run: Runner, checks: list[Check]) -> bool:
    """Return whether a toolkit must be installed, and add the checks of it to ``checks``."""
    host = cuda.ToolkitHost(run, platform.machine(), tuple(os.environ.get("PATH", "").split(os.pathsep)))
    try:
        trials = cuda_trial.Trials(wanted.toolkit, host, Progress())
        plan = cuda_choice.make_plan(wanted.toolkit, host, compiler_later=True, refusal=trials.refusal)
    except ProblemError as error:
        checks += [wrong("toolkit", problem) for problem in error.problems if problem.subject not in _ELSEWHERE]
        return True
    installs = plan.release is not None
    toolkit = f"{plan.toolkit.version} {'to be installed in' if installs else 'in'} {plan.toolkit.path}"
    checks.append(fine("toolkit", "CUDA toolkit", toolkit))
    return installs


def _model(wanted: Wanted, checks: list[Check]) -> tuple[bool, int | None]:
    """Return whether to fetch any of the model and how many bytes (None: unknown); add to ``checks``."""
    request = wanted.model
    if request is None:
        return False, 0
    source = request.source
    if isinstance(source, PathSource):
        checks += _local_model(request, source)
        return False, 0
    commit = (
        model_store.recall_commit(request.root, source.repo, request.endpoint, request.revision)
        if isinstance(source, HubSource)
        else ""
    )
    folder = model_store.folder_of(request.root, source, commit or "unknown")
    name = source.repo if isinstance(source, HubSource) else str(source)
    before = model_store.recorded_model(folder, folder, name, request.asked, bool(request.mmproj))
    if before:
        return _recorded_model(request, before, checks)
    if not request.without:
        return True, None
    held = cached_hub(dataclasses.replace(request, revision=commit or request.revision))
    if held:
        checks.append(fine("model", "gguf_model_source", f"{source} in {held.folder}, from where it is taken"))
    else:
        unrecorded = f"true, and no record of '{source}'"
        fix = f"run once without it, or copy the model's folder with its manifest.json to {request.root}/models"
        checks.append(wrong("model", Problem(request.without, unrecorded, "one of an online run", fix)))
    return held is None, None


def _local_model(request: ModelRequest, source: PathSource) -> list[Check]:
    """Check a model that is already on the host."""
    try:
        chosen = None if request.fit else find_files(source, model_choice.chooser(request, Progress()), request.mmproj)
    except ProblemError as error:
        return all_wrong("model", error)
    size = sum(file.size for file in chosen.files) if chosen else 0
    shown = f", {size // MIB} MiB" if size else ""
    return [fine("model", "gguf_model_source", f"{source.path} on the host{shown}")]


def _recorded_model(request: ModelRequest, before: model_store.Model, checks: list[Check]) -> tuple[bool, int]:
    """Compare a recorded model with the disk; return whether to fetch any of it and how many bytes."""
    missing = gap(model_plan.plan_recorded(before, request.asked), request, Checker(Progress()))
    if not missing:
        state = f"{before.path}, which exists already, {before.size // MIB} MiB"
        checks.append(fine("model", "gguf_model_source", state))
    elif missing.fetched and request.without and not request.mirrors:
        state = f"true, and {len(missing.fetched)} of the model's files are not in {before.base}"
        fix = "name a mirror in gguf_model_mirrors, or copy the files there"
        checks.append(wrong("model", Problem(request.without, state, "all of them there", fix)))
    copied = sum(copy.size for name, copy in missing.copied.items() if name not in missing.free)
    return bool(missing.fetched), sum(file.size for file in missing.fetched) + copied
