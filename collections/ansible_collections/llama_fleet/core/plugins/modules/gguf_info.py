# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Describe a GGUF model and the memory it takes, from its header alone."""

from __future__ import annotations

import dataclasses
import pathlib
import typing

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.llama_fleet.core.plugins.module_utils.host import commands
from ansible_collections.llama_fleet.core.plugins.module_utils.model import inspect as gguf_files
from ansible_collections.llama_fleet.core.plugins.module_utils.model.source import require_token
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.release.memory_plan import plan_memory
from ansible_collections.llama_fleet.core.plugins.module_utils.stage import conclude

Result = dict[str, typing.Any]


def stage(module: AnsibleModule) -> Result:
    given = module.params
    option = "path" if given["path"] else "url"
    try:
        files = (
            gguf_files.local_files(given["path"])
            if given["path"]
            else gguf_files.remote_files(given["url"], require_token(given["token"] or ""))
        )
        gguf_files.require_shards(files, option)
        result = described(files)
        if given["release"]:
            result["memory"] = memory(
                files, pathlib.Path(given["release"]), given["ctx_size"], given["parallel"], pathlib.Path(module.tmpdir)
            )
    except ProblemError as error:
        # What this module shares with the role speaks of the role's variables.
        own = {"gguf_model_source": option, "gguf_model_token": "token"}
        raise ProblemError(
            *(
                dataclasses.replace(problem, subject=own.get(problem.subject, problem.subject))
                for problem in error.problems
            )
        ) from error
    return {"changed": False, **result}


def described(files: typing.Sequence[gguf_files.File]) -> Result:
    first = files[0].header
    return {
        "architecture": first.architecture,
        "name": first.name,
        "size_label": first.size_label,
        "quant": first.quant,
        "size": sum(file.size for file in files),
        "files": [{"name": file.name, "size": file.size} for file in files],
        "split_count": len(files),
        "context_trained": first.context_length,
        "layers": first.block_count,
        "embedding_length": first.embedding_length,
        "parameters": sum(file.header.parameters for file in files),
        "tensors": sum(file.header.tensor_count for file in files),
        "chat_template": first.has_chat_template,
    }


def memory(
    files: typing.Sequence[gguf_files.File], release: pathlib.Path, ctx_size: int, parallel: int, work: pathlib.Path
) -> Result:
    trained = files[0].header.context_length
    context = ctx_size or trained
    if parallel < 1:
        raise ProblemError(Problem("parallel", str(parallel), "at least one slot"))
    if context < 1 or (trained and context > trained):
        wanted = (
            f"at most the {trained} tokens that the model was trained for, for each slot"
            if trained
            else "the tokens of each slot"
        )
        raise ProblemError(Problem("ctx_size", str(ctx_size), wanted))
    plan = plan_memory(
        commands.run, release, [(file.header.content, file.size) for file in files], context, parallel, work, "release"
    )
    devices = [dataclasses.asdict(device) for device in plan.devices]
    return {"devices": devices, "total_mib": plan.total_mib, "ctx_size": context, "parallel": parallel}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path"},
            "url": {"type": "str"},
            "token": {"type": "str", "default": "", "no_log": True},
            "release": {"type": "path"},
            "ctx_size": {"type": "int", "default": 0},
            "parallel": {"type": "int", "default": 1},
        },
        mutually_exclusive=[("path", "url")],
        required_one_of=[("path", "url")],
        supports_check_mode=True,
    )
    conclude(module, stage)


if __name__ == "__main__":
    main()
