# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Run the release stage: plan, make, pack and remove releases."""

from __future__ import annotations

import pathlib
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.rules import bare
from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import run
from ansible_collections.llama_fleet.core.plugins.module_utils.host.files import locked
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.make import make_release, place_of
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.parts import explain
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.plan import (
    cpuinfo,
    install_git,
    make_plan,
    plan_again,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.request import (
    Request,
    parse_request,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.progress import Progress
from ansible_collections.llama_fleet.core.plugins.module_utils.release import pack as release_pack
from ansible_collections.llama_fleet.core.plugins.module_utils.release import removal as release_removal
from ansible_collections.llama_fleet.core.plugins.module_utils.release.store import newest_manifest
from ansible_collections.llama_fleet.core.plugins.module_utils.release.usage import uses

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.build_plan import BuildPlan
    from ansible_collections.llama_fleet.core.plugins.module_utils.stage import Caller


def difference(plan: BuildPlan, root: pathlib.Path) -> dict[str, typing.Any]:
    """Return the diff between the newest release on the host and the requested one."""
    before = newest_manifest(root) or {}
    names = ("build", "fingerprint", "fingerprint_parts")
    after = {"build": plan.revision.build, "fingerprint": plan.fingerprint, "fingerprint_parts": plan.parts}
    return {"before": {name: before[name] for name in names if name in before}, "after": after}


def plan_release(module: Caller, request: Request, touch: bool) -> BuildPlan:
    """Return the plan; install git first if the source's commit is unknown without it and the action wants that."""
    plan = make_plan(request, run, tentative=not touch)
    unknown = plan.would_compile and not plan.parts
    if unknown and module.params["install_git"] and not module.check_mode and install_git(request, run):
        return plan_again(request, plan, run, tentative=not touch)
    return plan


def provide_release(module: Caller) -> dict[str, typing.Any]:
    """Provide the release, or only report the result in a dry run. Raises ProblemError."""
    request = parse_request(module.params)
    touch = not (module.params["plan_only"] or module.check_mode)
    plan = plan_release(module, request, touch)
    progress = Progress(module.params["progress_file"] or "")
    changed = plan.manifest is None
    diff = difference(plan, request.root) if changed else {"before": {}, "after": {}}
    made = False
    if changed and touch:
        installed = plan.install
        plan, made = make_release(request, plan, progress, run)
        changed = made or bool(installed)  # another run may have made it meanwhile
        diff["after"] = difference(plan, request.root)["after"]
    packing, packed = pack(request, plan, progress, touch) if request.state == "packed" else ({}, False)
    removed = remove_old(module, request, plan, touch, made)
    changed = changed or packed or bool(removed)
    for warning in plan.warnings:
        module.warn(warning)
    return {
        "changed": changed and not module.params["plan_only"],
        "would_change": changed,
        "diff": diff,
        **_described(request, plan),
        "compiled": made and plan.would_compile,
        "removed": removed,
        **packing,
    }


def _described(request: Request, plan: BuildPlan) -> dict[str, typing.Any]:
    """Return what a plan says of its release."""
    manifest = plan.manifest or {}
    return {
        "would_compile": plan.would_compile and not plan.manifest,
        "path": str(plan.path or ""),
        "build": plan.revision.build,
        "commit": plan.revision.commit,
        "nightly": plan.revision.nightly,
        "archive": _listed(request, plan),
        "fingerprint": plan.fingerprint,
        "fingerprint_parts": plan.parts,
        "fingerprint_reasons": explain(request, plan.parts, plan.host.compiler, cpuinfo()),
        "origin": manifest.get("origin", ""),
        "takes": plan.cached.name if plan.cached and not plan.manifest else "",
        "taken_from": manifest.get("taken_from", plan.cached.location if plan.cached else ""),
        "cured": manifest.get("cured", []),
        "beside": plan.beside,
    }


def lacks_binaries(plan: typing.Mapping[str, typing.Any]) -> bool:
    """Return whether a host would build, or cannot have its release, without the project's binaries."""
    return bool(plan.get("failed") or plan.get("would_compile") or (plan.get("would_change") and not plan.get("path")))


def _listed(request: Request, plan: BuildPlan) -> dict[str, typing.Any]:
    """Return where the index has the source archive; empty if unknown, or if the address holds a login."""
    url, size = place_of(request, plan)
    return {"url": url, "size": size} if url and bare(url) == url else {}


def pack(request: Request, plan: BuildPlan, progress: Progress, touch: bool) -> tuple[dict[str, typing.Any], bool]:
    """Pack the release; returns what there is to tell of it, and whether that changed anything."""
    folder = pathlib.Path(request.pack_to or request.root / "packed")
    key = pathlib.Path(request.signing_key) if request.signing_key else None
    if not (plan.path and plan.manifest):
        return {"packed": {}}, True
    if not touch:
        return {"packed": {}}, release_pack.plan_pack(plan.path, folder, key)
    with locked(request.root / "locks" / f"{plan.path.name}.lock"):  # else another run could remove it meanwhile
        packed, changed = release_pack.pack(plan.path, folder, key, progress, run)
    return {
        "packed": {"path": str(packed.archive), "sha256": packed.sha256, "size": packed.size, "signed": packed.signed}
    }, changed


def remove_old(module: Caller, request: Request, plan: BuildPlan, touch: bool, made: bool) -> list[str]:
    """Remove the releases that are not to be kept, and what killed runs left; returns the folders of the releases."""
    keep = module.params["keep"]
    if keep < 1 or not (request.root / "releases").is_dir():
        return []
    try:
        old = release_removal.superfluous(
            request.root, keep, plan.path, uses(pathlib.Path(module.params["instances"]), "llama_cpp_instances")
        )
    except ProblemError as error:  # a generation that cannot be read may use any of them
        module.warn(f"No old release is removed. {error}")
        return []
    return [str(path) for path in (release_removal.remove(old, request.root) if touch and (old or made) else old)]
