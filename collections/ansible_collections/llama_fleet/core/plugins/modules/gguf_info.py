# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# ruff: noqa: E402 - Ansible wants the documentation before the imports.
"""Describe a GGUF model and the memory it takes, from its header alone."""

from __future__ import annotations

DOCUMENTATION = r"""
module: gguf_info
short_description: Read the header of a GGUF model and plan its memory
version_added: 0.1.0
description:
  - Reads the header of a GGUF model (every shard of a split model), on the host or over HTTP.
  - Over HTTP only the first megabytes are fetched, so that a model of hundreds of gigabytes can be judged before it is
    downloaded.
  - With a release of llama.cpp it also returns the memory that the model needs on each device, as that release computes
    it.
options:
  path:
    description:
      - Path of a GGUF file on the host; for a split model, its first shard.
      - Exactly one of O(path) and O(url) is required.
    type: path
  url:
    description:
      - HTTP or HTTPS URL of a GGUF file; for a split model, its first shard. The other shards are found by name.
      - "A file on the Hub is at C(https://huggingface.co/<owner>/<repo>/resolve/<revision>/<file>)."
    type: str
  token:
    description: Access token for O(url). It is sent only to the origin of O(url), never to another origin after a
      redirect.
    type: str
    default: ""
  release:
    description:
      - Folder of a llama.cpp release with C(bin/llama-fit-params), for example
        RV(llama_fleet.core.llama_cpp_release#module:path).
      - "Empty: no memory plan."
    type: path
  ctx_size:
    description:
      - Context size of each slot in tokens, for the memory plan. The total is this times O(parallel).
      - "V(0): the size that the model was trained for."
    type: int
    default: 0
  parallel:
    description: "Number of slots (requests that are processed at the same time), for the memory plan."
    type: int
    default: 1
author:
  - The llama-fleet authors (@llama-fleet)
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
extends_documentation_fragment:
  - llama_fleet.core.stage.attributes
seealso:
  - module: llama_fleet.core.gguf_model
"""

EXAMPLES = r"""
- name: Read a model's header
  llama_fleet.core.gguf_info:
    path: /srv/models/SmolLM2-135M-Instruct-Q4_1-00001-of-00003.gguf
  register: model

- name: Plan the memory of a model with four slots, before it is downloaded
  llama_fleet.core.gguf_info:
    url: https://huggingface.co/ggml-org/gemma-3-1b-it-GGUF/resolve/main/gemma-3-1b-it-Q4_K_M.gguf
    release: /opt/llama-fleet/releases/b11434-0123456789ab
    ctx_size: 8192
    parallel: 4
  register: model

- name: Fail if it needs too much memory
  ansible.builtin.assert:
    that: model.memory.total_mib < 8000
"""

RETURN = r"""
architecture:
  description: Architecture, as llama.cpp names it.
  returned: success
  type: str
  sample: llama
name:
  description: Name in the header; empty if there is none.
  returned: success
  type: str
  sample: Smollm2 135M 8k Lc100K Mix1 Ep2
size_label:
  description: Size class in the header; empty if there is none.
  returned: success
  type: str
  sample: 135M
quant:
  description: Quantization of most tensors according to the header; empty if unknown. The file's name may be more
    precise.
  returned: success
  type: str
  sample: Q4_1
size:
  description: Total size of the files in bytes.
  returned: success
  type: int
  sample: 98362432
files:
  description: All files of the model, in order.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Path or URL of the file.
      type: str
    size:
      description: Size in bytes.
      type: int
split_count:
  description: Number of files.
  returned: success
  type: int
  sample: 1
context_trained:
  description: Context size in tokens that the model was trained for; 0 if the header does not contain it.
  returned: success
  type: int
  sample: 8192
layers:
  description: Number of layers.
  returned: success
  type: int
  sample: 30
embedding_length:
  description: Length of the embedding vectors.
  returned: success
  type: int
  sample: 576
parameters:
  description: Number of values in all tensors.
  returned: success
  type: int
  sample: 134515008
tensors:
  description: Number of tensors.
  returned: success
  type: int
  sample: 272
chat_template:
  description: Whether the model has a chat template.
  returned: success
  type: bool
  sample: true
memory:
  description: Memory that the model needs with all layers on the GPUs, or on the CPU if the release sees no GPU.
  returned: when O(release) is given
  type: dict
  contains:
    devices:
      description: Memory that the model, its context and its computations need on each device, in MiB. V(Host) is RAM.
      type: list
      elements: dict
      sample:
        - name: CUDA0
          model_mib: 4403
          context_mib: 512
          compute_mib: 560
        - name: Host
          model_mib: 281
          context_mib: 0
          compute_mib: 24
    total_mib:
      description: Total memory in MiB.
      type: int
    ctx_size:
      description: Planned context size of each slot, in tokens.
      type: int
    parallel:
      description: Planned number of slots.
      type: int
"""

import dataclasses
import pathlib
import typing

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.llama_fleet.core.plugins.module_utils.host import commands
from ansible_collections.llama_fleet.core.plugins.module_utils.model import inspect as gguf_files
from ansible_collections.llama_fleet.core.plugins.module_utils.model.hub import require_token
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
