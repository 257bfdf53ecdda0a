# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Run the toolkit stage: find a toolkit, install one, or remove it."""

from __future__ import annotations

import os
import pathlib
import platform
import re
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.arguments import argument_spec, values
from ansible_collections.llama_fleet.core.plugins.module_utils.cuda import choice as cuda_choice
from ansible_collections.llama_fleet.core.plugins.module_utils.cuda import plan as cuda
from ansible_collections.llama_fleet.core.plugins.module_utils.cuda import trial as cuda_proof
from ansible_collections.llama_fleet.core.plugins.module_utils.cuda import wheels as cuda_wheels
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch import index as package_index
from ansible_collections.llama_fleet.core.plugins.module_utils.host import commands, files
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.progress import Progress
from ansible_collections.llama_fleet.core.plugins.module_utils.stage import PROGRESS_ARGUMENTS, Caller
from ansible_collections.llama_fleet.core.plugins.module_utils.tools import compiler as build_host

ARGUMENTS = {**argument_spec(cuda.Wanted), **PROGRESS_ARGUMENTS}


def run(module: Caller) -> dict[str, typing.Any]:
    """Provide or remove the toolkit, or only report the result in a dry run. Raises ProblemError."""
    touch = not (module.check_mode or module.params["plan_only"])
    progress = Progress(module.params["progress_file"] or "")
    changed, result = (_remove if module.params["state"] == "absent" else _provide)(module.params, progress, touch)
    if module.params["plan_only"]:
        return {"changed": False, "would_change": changed, **result}
    before = "".join(f"{path}\n" for path in result["removed"])
    return {
        "changed": changed,
        "diff": {"before": before, "after": f"{result['path']}\n" if changed and not before else ""},
        **result,
    }


def _provide(params: dict[str, typing.Any], progress: Progress, touch: bool) -> tuple[bool, dict[str, typing.Any]]:
    """Find or install; whether that changes the host, and what came of it."""
    wanted = cuda.Wanted(**values(cuda.Wanted, params))
    host = cuda.ToolkitHost(commands.run, platform.machine(), tuple(os.environ.get("PATH", "").split(os.pathsep)))
    installs_compiler = not cuda.has_compiler(host) and params["install_packages"] and build_host.can_install()
    # A plan comes before it is known whether anything has to be compiled.
    trials = cuda_proof.Trials(wanted, host, progress)
    plan = cuda_choice.make_plan(wanted, host, installs_compiler or params["plan_only"], trials.refusal)
    if installs_compiler and touch:
        progress.stage(f"installing {' '.join(build_host.packages(['compiler']))}")
        build_host.install(["compiler"], commands.run)
        # Only now the toolkits of the host can be tried.
        plan = cuda_choice.make_plan(wanted, host, refusal=trials.refusal)
    toolkit = plan.toolkit
    changed = bool(plan.release) or installs_compiler
    if wanted.path:
        trials.require(toolkit)
    if touch:
        trials.remember()
    if plan.release:
        files.require_writable(toolkit.path, "cuda_toolkit_root")
    if plan.release and touch:
        index = package_index.index_url(params["index_url"])
        installed = cuda_wheels.install(
            plan.release,
            wanted.root,
            index,
            host.machine,
            progress,
            lambda folder: cuda_proof.accept(folder, wanted, host),
        )
        changed = installed or installs_compiler
        toolkit = cuda.Toolkit(toolkit.path, toolkit.version, cuda_wheels.manifest_of(toolkit.path)["nvcc"])
    return changed, _result(toolkit, plan.origin, [])


def _remove(params: dict[str, typing.Any], progress: Progress, touch: bool) -> tuple[bool, dict[str, typing.Any]]:
    """Remove what is ours; whether that changes the host, and what it was."""
    root, version = pathlib.Path(params["root"]), params["version"]
    if version and not re.fullmatch(r"\d+\.\d+", version):
        raise ProblemError(
            Problem(
                cuda.VERSION_VARIABLE,
                f"'{version}'",
                "major.minor, such as 13.0",
                "correct it, or leave it empty for all of them",
            )
        )
    paths = cuda_wheels.removable(root, version)
    if paths:
        files.require_writable(paths[0].parent, "cuda_toolkit_root")
    if paths and touch:
        paths = cuda_wheels.remove(root, version, progress)
    return bool(paths), _result(None, "", paths)


def _result(toolkit: cuda.Toolkit | None, origin: str, removed: list[pathlib.Path]) -> dict[str, typing.Any]:
    return {
        "path": str(toolkit.path) if toolkit else "",
        "version": toolkit.version if toolkit else "",
        "nvcc": toolkit.nvcc if toolkit else "",
        "include": str(toolkit.include) if toolkit else "",
        "library": str(toolkit.library) if toolkit else "",
        "origin": origin,
        "removed": [str(path) for path in removed],
    }
