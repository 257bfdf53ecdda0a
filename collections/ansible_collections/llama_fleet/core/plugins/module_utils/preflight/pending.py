# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""What is still to be done for one instance: as its plans tell, or else by a look at what is there, which asks no
network.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import platform
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.cuda import plan as cuda
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.rules import bare
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp import plan as llama_cpp_plan
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.source import Archive, Repository
from ansible_collections.llama_fleet.core.plugins.module_utils.model import choice as model_choice
from ansible_collections.llama_fleet.core.plugins.module_utils.model import fetch as model_fetch
from ansible_collections.llama_fleet.core.plugins.module_utils.model import parts as model_parts
from ansible_collections.llama_fleet.core.plugins.module_utils.model import plan as model_plan
from ansible_collections.llama_fleet.core.plugins.module_utils.model import store as model_store
from ansible_collections.llama_fleet.core.plugins.module_utils.model.local import find_files
from ansible_collections.llama_fleet.core.plugins.module_utils.model.source import HubSource, PathSource, WheelSource
from ansible_collections.llama_fleet.core.plugins.module_utils.model.verify import Checker
from ansible_collections.llama_fleet.core.plugins.module_utils.preflight.check import Check, all_wrong, fine, wrong
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.progress import Progress
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.options import CUDA

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import Result, Runner
    from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.request import Request
    from ansible_collections.llama_fleet.core.plugins.module_utils.preflight.wanted import Wanted

MIB = 1 << 20
# By what a plan's problem is about; what is not here is the release's.
_CODES = {
    "compiler": "compiler",
    "git": "git",
    "llama_cpp_source": "source",
    "llama_cpp_version": "source",
    "llama_cpp_root": "rights",
}
# Counted for all together instead.
_ELSEWHERE = ("disk space",)


@dataclasses.dataclass(frozen=True)
class Work:
    """``model`` is whether any of its files are to come, and ``size`` the bytes of that, None where nobody knows yet;

    ``taken`` are on the disk already.
    """

    release: bool = False
    compiles: bool = False
    toolkit: bool = False
    model: bool = False
    size: int | None = 0
    taken: int = 0
    urls: tuple[str, ...] = ()


def planned(wanted: Wanted) -> Work:
    """What the plans would change."""
    release, model = wanted.plans.get("llama_cpp") or {}, wanted.plans.get("gguf_model") or {}
    compiles = bool(release.get("would_compile"))
    toolkit = compiles and bool((wanted.plans.get("cuda_toolkit") or {}).get("would_change"))
    fetch = (model.get("plan") or {}).get("fetch") or []
    waits = bool((model.get("plan") or {}).get("waits_for"))
    sums = [str(file.get("sha256") or "") for file in model.get("files") or []]
    if wanted.model and isinstance(wanted.model.source, WheelSource):
        sums.append(wanted.model.source.sha256)
    parts = model_store.parts_folder(pathlib.Path((model.get("plan") or {}).get("folder") or "/nonexistent"))
    return Work(
        release=bool(release.get("would_change")),
        compiles=compiles,
        toolkit=toolkit,
        model=bool(fetch) or waits,
        size=None if waits else sum(int(file["size"]) for file in fetch),
        taken=sum(model_parts.taken(parts / sha256) for sha256 in sums if sha256),
        urls=tuple(str(file["url"]) for file in fetch if file["url"]),
    )


def looked(wanted: Wanted, run: Runner, limit: float) -> tuple[Work, list[Check]]:
    """What there is to do as far as the host itself tells, and what of it cannot be done.

    Only a git repository is asked, for its tags.
    """
    found: list[Check] = []
    release, compiles, needs_toolkit = False, False, False
    if wanted.release:
        try:
            plan = llama_cpp_plan.make_plan(_unasked(wanted.release), _bounded(run, limit), tentative=True)
            release, compiles = plan.manifest is None, plan.would_compile
            if isinstance(wanted.release.source, Repository) and "git" not in plan.host.missing:
                found.append(
                    fine("source", "llama_cpp_source", f"{bare(wanted.release.source.url)} at {plan.revision.build}")
                )
            if not release:
                found.append(fine("release", "llama_cpp_source", f"{plan.path}, which is there already"))
        except ProblemError as error:
            release, compiles = True, wanted.release.from_source
            found += [
                wrong(_CODES.get(problem.subject, "release"), problem)
                for problem in error.problems
                if problem.subject not in _ELSEWHERE
            ]
        if compiles and wanted.backend == CUDA:
            needs_toolkit = _toolkit(wanted, run, found)
    model, size = _model(wanted, found)
    return Work(release, compiles, needs_toolkit, model, size), found


def _unasked(request: Request) -> Request:
    """The request, changed so that its plan asks no index and no cache: they are asked in time limits of our own."""
    source = request.source
    if isinstance(source, Archive) and source.on_index:
        source = Archive(f"https://localhost/{source.name}", source.sha256)
    return dataclasses.replace(request, source=source, cache=(), offered=())


def _bounded(run: Runner, limit: float) -> Runner:
    """``run``, with which git waits no longer than ``limit`` seconds for a network."""

    def bounded(
        command: typing.Sequence[str],
        env: typing.Mapping[str, str] | None = None,
        cwd: str | None = None,
        timeout: float | None = None,
        on_line: typing.Callable[[str], None] | None = None,
    ) -> Result:
        return run(
            command,
            env=env,
            cwd=cwd,
            timeout=limit if list(command[:2]) == ["git", "ls-remote"] else timeout,
            on_line=on_line,
        )

    return bounded


def _toolkit(wanted: Wanted, run: Runner, found: list[Check]) -> bool:
    """Whether a toolkit is to be installed."""
    host = cuda.Host(run, platform.machine(), tuple(os.environ.get("PATH", "").split(os.pathsep)))
    try:
        plan = cuda.make_plan(wanted.toolkit, host, compiler_later=True)
    except ProblemError as error:
        found += [wrong("toolkit", problem) for problem in error.problems if problem.subject not in _ELSEWHERE]
        return True
    installs = plan.release is not None
    found.append(
        fine(
            "toolkit",
            "CUDA toolkit",
            f"{plan.toolkit.version} {'to be installed in' if installs else 'in'} {plan.toolkit.path}",
        )
    )
    return installs


def _model(wanted: Wanted, found: list[Check]) -> tuple[bool, int | None]:
    """Whether any of the model is to be fetched, and how much."""
    request = wanted.model
    if request is None:
        return False, 0
    source = request.source
    if isinstance(source, PathSource):
        try:
            chosen = (
                None if request.fit else find_files(source, model_choice.chooser(request, Progress()), request.mmproj)
            )
        except ProblemError as error:
            found += all_wrong("model", error)
            return False, 0
        size = sum(file.size for file in chosen.files) if chosen else 0
        found.append(
            fine("model", "gguf_model_source", f"{source.path} on the host" + (f", {size // MIB} MiB" if size else ""))
        )
        return False, 0
    commit = (
        model_store.recall_commit(request.root, source.repo, request.endpoint, request.revision)
        if isinstance(source, HubSource)
        else ""
    )
    folder = model_store.folder_of(request.root, source, commit or "unknown")
    name = source.repo if isinstance(source, HubSource) else str(source)
    before = model_store.recorded_model(folder, folder, name, request.asked, request.mmproj)
    if before:
        missing = model_fetch.gap(model_plan.plan_recorded(before, request.asked), Checker(Progress()))
        if not missing:
            found.append(
                fine("model", "gguf_model_source", f"{before.path}, which is there already, {before.size // MIB} MiB")
            )
        elif missing.fetched and request.offline and not request.mirrors:
            told = f"true, and {len(missing.fetched)} of the model's files are not in {folder}"
            fix = "name a mirror in gguf_model_mirrors, or carry the files there"
            found.append(wrong("model", Problem("gguf_model_offline", told, "all of them there", fix)))
        return bool(missing.fetched), sum(file.size for file in missing.fetched)
    if request.offline:
        fix = f"run once without it, or carry the model's folder with its manifest.json to {request.root}/models"
        found.append(
            wrong(
                "model",
                Problem("gguf_model_offline", f"true, and no record of '{source}'", "one of a run with a network", fix),
            )
        )
    return True, None
