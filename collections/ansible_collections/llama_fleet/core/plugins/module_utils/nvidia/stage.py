# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Run the driver stage: look at the GPUs and compare them with the requirements."""

from __future__ import annotations

import dataclasses
import os
import pwd
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils import stage
from ansible_collections.llama_fleet.core.plugins.module_utils.arguments import argument_spec
from ansible_collections.llama_fleet.core.plugins.module_utils.host import commands
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia import container as nvidia_container
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia import examine as nvidia_host
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia import observe as nvidia
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia import requirements as nvidia_requirements
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia.host import MORE_FOLDERS, GpuHost
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia.kernel import Account
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError

ARGUMENTS = {**argument_spec(nvidia_requirements.Requirements), **stage.OVERRIDES}


def look(module: stage.Caller) -> dict[str, typing.Any]:
    """Examine the GPUs, and return which backend they allow. Raises RefusedError if they are not as required."""
    gpu = module.params["gpu"]
    try:
        wanted = nvidia_requirements.parse(module.params)
    except ProblemError as error:
        # Like all other problems of this stage, with a code.
        problems = [{"code": "bad_requirement", "severity": "error", **each} for each in stage.told(error)]
        raise stage.RefusedError(str(error), {"problems": problems}) from error
    folders = tuple(os.environ.get("PATH", "").split(os.pathsep)) + MORE_FOLDERS
    if gpu == "none":
        examined = nvidia_host.Examination(nvidia.Observation(), nvidia_container.Support())
    else:
        examined = nvidia_host.examine(GpuHost(commands.run, folders=folders), wanted, _account(wanted.user))
    seen = nvidia.judged(gpu, examined.seen)
    refusal = nvidia.refusal(gpu, seen)
    result = {
        "changed": False,
        "driver": dataclasses.asdict(seen.driver) if seen.driver else {},
        "gpus": [dataclasses.asdict(each) for each in seen.gpus],
        "cuda_architectures": seen.architectures,
        "container": dataclasses.asdict(examined.support),
        "problems": [dataclasses.asdict(each) for each in seen.findings],
    }
    if refusal:
        raise stage.RefusedError(refusal, result)
    for finding in seen.findings:
        if seen.usable:
            module.warn(str(finding))
    return {"backend": "cuda" if seen.usable else "cpu", **result}


def _account(name: str) -> Account | None:
    if not name:
        return None
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return Account(name)
    return Account(name, entry.pw_uid, tuple(os.getgrouplist(name, entry.pw_gid)))
