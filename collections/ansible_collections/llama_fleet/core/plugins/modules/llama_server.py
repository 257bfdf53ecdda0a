# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# ruff: noqa: E402 - Ansible wants the documentation before the imports.

from __future__ import annotations

DOCUMENTATION = r"""
module: llama_server
short_description: A running instance of llama-server
version_added: 0.1.0
author:
  - The llama-fleet authors (@llama-fleet)
description:
  - Renders a numbered generation of an instance (environment, unit, manifest), proves what can be proved while the old
    one still serves, switches, and
    counts the new one as good once it has generated tokens. Where it does not become good, the last good generation
    runs again and the module fails.
  - An instance whose generation does not change is not restarted.
options:
  instance:
    description: "The instance's name: lower-case letters, digits and hyphens."
    type: str
    default: default
  state:
    description:
      - V(started) runs the instance, now and at boot; V(stopped) keeps it but stops it; V(absent) removes it with its
        generations.
      - V(rolled_back) runs an earlier good generation again, which O(to_generation) names.
    type: str
    choices: [started, stopped, absent, rolled_back]
    default: started
  runtime:
    description:
      - V(systemd) makes a unit. V(quadlet) makes a container of podman that systemd runs, V(docker) one of a compose
        file, both with the host's own
        release in O(image). V(process) makes a process of its own session, for machines without systemd. V(auto) takes
        systemd where it is PID 1,
        else a process.
      - "V(exec) lets a new generation pass its gate on a port of its own, and leaves nothing running:
        the caller executes RV(ignore:command) with the variables of RV(ignore:environment_file)."
    type: str
    choices: [auto, systemd, quadlet, docker, process, exec]
    default: auto
  image:
    description: "Image in which the host's release runs. Wanted where O(runtime) is V(quadlet) or V(docker)."
    type: str
    default: ""
  memory_max:
    description: "Most memory the instance may use, as systemd writes it, such as V(24G) or V(80%). Empty: no limit."
    type: str
    default: ""
  cpu_quota:
    description: "Most CPU time the instance may use, such as V(200%) for two cores. Empty: no limit."
    type: str
    default: ""
  drain_timeout:
    description:
      - Seconds that a server which is to be replaced or stopped has for the requests in flight. It serves on meanwhile,
        and does not wait where it has none.
      - "Requests that are still in flight then are cut, and counted. V(0): it is stopped at once."
    type: int
    default: 30
  stop_timeout:
    description: "Seconds the instance has to end once it is told to. A server with an open request does not end by
      itself and is killed after them."
    type: int
    default: 1
  release:
    description: Folder of the release to run, with C(bin/llama-server) in it. Wanted unless O(state) is V(stopped) or
      V(absent).
    type: path
    default: ""
  model:
    description: The model's first file. Wanted unless O(state) is V(stopped) or V(absent).
    type: path
    default: ""
  backend:
    description: "What must compute: an instance for V(cuda) that runs on the CPU is not good."
    type: str
    choices: [cpu, cuda]
    default: cpu
  host:
    description: Address to listen on.
    type: str
    default: 127.0.0.1
  port:
    description: TCP port to listen on.
    type: int
    default: 8080
  ctx_size:
    description: Context of each slot, in tokens. The server's own total is this times O(parallel).
    type: int
    default: 4096
  parallel:
    description: "Slots: requests that are answered at once."
    type: int
    default: 16
  max_tokens:
    description: "Tokens generated for a request that names no limit of its own. V(-1): no limit."
    type: int
    default: 2048
  batch_size:
    description: Logical batch, in tokens.
    type: int
    default: 2048
  ubatch_size:
    description: Physical batch, in tokens.
    type: int
    default: 512
  threads:
    description: "Threads that compute. V(0): physical cores, less where a cgroup quota or an affinity mask allows
      less."
    type: int
    default: 0
  n_gpu_layers:
    description: "Layers kept on the GPU: a number, V(auto) or V(all). Without meaning where O(backend) is V(cpu)."
    type: str
    default: auto
  devices:
    description:
      - Devices to compute on, such as V(CUDA0), or UUIDs of GPUs and MIG slices as C(nvidia-smi -L) shows them. Empty
        means every GPU with O(backend=cuda),
        none with O(backend=cpu).
    type: list
    elements: str
    default: []
  alias:
    description: "The model's name in the API; newer releases take several, with commas between. Empty: the name of its
      file."
    type: str
    default: ""
  api_key:
    description: "Key that requests must carry. Empty: none."
    type: str
    default: ""
  split_mode:
    description: "How a model is spread over several GPUs. Empty: as the release does."
    type: str
    choices: ["", "none", layer, row, tensor]
    default: ""
  tensor_split:
    description: "Shares of the model for each GPU, such as V([3, 1]). Empty: by their free memory."
    type: list
    elements: float
    default: []
  main_gpu:
    description: "The GPU, counted among O(devices), that does what is not spread."
    type: int
    default: 0
  flash_attn:
    description: "Flash attention. V(auto) uses it where the devices can."
    type: str
    choices: [auto, "on", "off"]
    default: "auto"
  cache_type_k:
    description: "Type of the keys in the context's memory."
    type: str
    choices: [f32, f16, bf16, q8_0, q4_0, q4_1, iq4_nl, q5_0, q5_1]
    default: "f16"
  cache_type_v:
    description: "Type of the values in the context's memory. One that is quantised needs flash attention."
    type: str
    choices: [f32, f16, bf16, q8_0, q4_0, q4_1, iq4_nl, q5_0, q5_1]
    default: "f16"
  load_mode:
    description:
      - "How the model's file comes into memory: mapped (V(mmap)), locked against swapping (V(mlock)), both, read past
        the page cache (V(direct)), or simply
        read (V(none))."
    type: str
    choices: [auto, mmap, mlock, mmap+mlock, direct, "none"]
    default: "auto"
  cache_ram:
    description: "Most MiB of RAM for prompts kept for later requests. V(-1): no limit, V(0): none are kept."
    type: int
    default: 8192
  kv_unified:
    description:
      - "Whether the slots share one memory of O(ctx_size) times O(parallel) tokens."
      - "One request may then use more than O(ctx_size) while others use less."
    type: bool
    default: false
  mmproj:
    description: "Projector file of a model that sees or hears. Empty: none."
    type: path
    default: ""
  lora:
    description: "LoRA adapters by absolute path, each with its scale after a colon where it is not 1, such as
      C(/srv/a.gguf:0.5)."
    type: list
    elements: str
    default: []
  chat_template:
    description:
      - "Name of a template the release knows, a Jinja template, or the absolute path of a file with one. Empty: that of
        the model."
    type: str
    default: ""
  jinja:
    description: "Whether chat templates are run as Jinja, which tools and reasoning need."
    type: bool
    default: true
  reasoning:
    description: "Whether the model is asked to think before it answers. V(auto): as its template does."
    type: str
    choices: [auto, "on", "off"]
    default: "auto"
  embeddings:
    description: "Serve embeddings only, from a model made for them."
    type: bool
    default: false
  rerank:
    description: "Serve reranking only, from a model made for it."
    type: bool
    default: false
  metrics:
    description: "Whether C(/metrics) is served, in the format of Prometheus."
    type: bool
    default: true
  slots:
    description: "Whether C(/slots) is served, which tells what each slot does."
    type: bool
    default: true
  api_keys:
    description: "Further keys, any of which a request may carry."
    type: list
    elements: str
    default: []
  tls_certificate:
    description:
      - "PEM file of the certificate, with those that lead up to its authority. Wanted together with O(tls_key). Empty:
        plain HTTP."
    type: path
    default: ""
  tls_key:
    description: "PEM file of the certificate's private key."
    type: path
    default: ""
  cors_origins:
    description:
      - "The origin whose web pages may use the server, such as V(https://chat.example), V(localhost) or V(*) for all.
        The server can name but one."
      - "Empty: every page where a key is wanted, which the page then has to have, else those of localhost only."
      - Releases of before this was an option let every page in.
    type: list
    elements: str
    default: []
  timeout:
    description: "Seconds that a connection may take to send or to receive."
    type: int
    default: 3600
  log_level:
    description: "How much the server logs. None of them logs what requests ask. V(debug) needs two keys or none, for
      the end of a single one would be logged."
    type: str
    choices: [error, warning, info, debug]
    default: "info"
  allow_unauthenticated:
    description: "Whether to serve other hosts without a key. TLS is no key: it lets everybody in."
    type: bool
    default: false
  allow:
    description:
      - "What is refused unless it is named here: serving any of many models, tools that run on the host, agents, MCP
        servers and computing on other hosts."
    type: list
    elements: str
    choices: [router, tools, agent, mcp, rpc]
    default: []
  extra_options:
    description:
      - "Further options of llama-server by their long name without hyphens in front, such as C(top-k: 20). V(true)
        stands for a flag without a value,
        V(false) for its C(no-) form, a list for several values."
    type: dict
    default: {}
  prompt:
    description: "A question to ask once the instance is ready; the answer is in the result. Empty: none, a token is
      generated all the same."
    type: str
    default: ""
  ready_timeout:
    description: "Seconds the instance has to become ready. V(0): by the size of the model."
    type: int
    default: 0
  to_generation:
    description: "The generation that O(state=rolled_back) goes back to. V(0): the last good one before the current, one
      further with each run."
    type: int
    default: 0
  keep:
    description: "Good generations to keep, at least 1."
    type: int
    default: 5
  min_speed_ratio:
    description: "Least speed, as a share of what the last good generation had, with which a new one counts as good.
      V(0): any."
    type: float
    default: 0.0
  memory_check:
    description: "Whether a generation that does not fit into the memory of its devices is refused before the switch."
    type: bool
    default: true
  root:
    description: Folder below which C(instances/<name>/generations) is kept.
    type: path
    default: /etc/llama-fleet
  runtime_root:
    description: Folder for the process ids and logs of V(process) instances.
    type: path
    default: /run/llama-fleet
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
- name: Run an instance
  llama_fleet.core.llama_server:
    release: /opt/llama-fleet/releases/b11434-0123456789ab
    model: /var/lib/llama-fleet/models/org/tiny-GGUF/0123456789abcdef0123456789abcdef01234567/tiny-Q8_0.gguf
    ctx_size: 8192
    parallel: 4
    cache_type_k: q8_0
    flash_attn: "on"
    extra_options:
      top-k: 20

- name: Go back to what ran well before
  llama_fleet.core.llama_server:
    state: rolled_back

- name: Stop it, now and at boot
  llama_fleet.core.llama_server:
    state: stopped
"""

RETURN = r"""
instance:
  description: The instance's name.
  returned: success
  type: str
state:
  description: The state it is in.
  returned: success
  type: str
runtime:
  description: What keeps it running, V(systemd), V(quadlet), V(docker), V(process) or V(exec).
  returned: success
  type: str
generation:
  description: Number of its current generation, or of the one to come; 0 if there is none.
  returned: success
  type: int
endpoint:
  description: Where a client on the host reaches it.
  returned: success
  type: str
  sample: http://127.0.0.1:8080
certificate:
  description: The file of its certificate; empty without TLS.
  returned: success
  type: str
device:
  description: The devices it computes on, V(cpu) or such as V(CUDA0).
  returned: success
  type: str
command:
  description: The command line, without secrets.
  returned: success
  type: list
  elements: str
environment_file:
  description: File with its environment variables.
  returned: success
  type: str
pid:
  description: Its process id; 0 if it does not run.
  returned: success
  type: int
restarted:
  description: Whether it was started or restarted by this run.
  returned: success
  type: bool
in_flight:
  description: Requests that the server which this run stopped or replaced had when it was to go; C(-1) if it did not
    tell.
  returned: success
  type: int
cut:
  description: "Requests that it still had when it was stopped, after O(drain_timeout): they were cut. C(-1) if it did
    not tell."
  returned: success
  type: int
ready:
  description:
    - Whether it passed its gate in this run.
    - A plan asks an instance of which nothing changes; where that is true, a run has nothing to do.
  returned: success
  type: bool
answer:
  description: Its answer to O(prompt).
  returned: success
  type: str
log:
  description: The log file, or the command that shows the log.
  returned: success
  type: str
context:
  description: Tokens that one request can use.
  returned: success
  type: int
threads:
  description: Threads that compute.
  returned: success
  type: int
memory:
  description: What the release plans to use on each device, in MiB, C(device), C(model_mib), C(context_mib),
    C(compute_mib) and C(free_mib).
  returned: success
  type: list
  elements: dict
speed:
  description: Tokens generated in a second at the gate; 0 if not measured.
  returned: success
  type: float
changed_parts:
  description: The options and the other parts in which the generation differs from the one before.
  returned: success
  type: list
  elements: str
would_change:
  description: Whether a run without O(plan_only) and check mode changes anything.
  returned: success
  type: bool
problems:
  description: What was found, what was wanted and what to do.
  returned: failure
  type: list
  elements: dict
"""

import typing

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.llama_fleet.core.plugins.module_utils.progress import Progress
from ansible_collections.llama_fleet.core.plugins.module_utils.server.instance import Instance
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.host import this_host
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.arguments import (
    ARGUMENTS,
    notes,
    options_of,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.server.stage import Stage
from ansible_collections.llama_fleet.core.plugins.module_utils.stage import PROGRESS_ARGUMENTS, conclude


def stage(module: AnsibleModule) -> dict[str, typing.Any]:
    dry = module.check_mode or module.params["plan_only"]
    for note in notes(module.params):
        module.warn(note)
    progress = Progress(module.params["progress_file"] or "")
    result = Stage(Instance(options_of(module.params), this_host(), progress), dry).run()
    for warning in result.pop("warnings", []):
        module.warn(warning)
    return {**result, "changed": result["changed"] and not module.params["plan_only"]}


def main() -> None:
    conclude(AnsibleModule(argument_spec={**ARGUMENTS, **PROGRESS_ARGUMENTS}, supports_check_mode=True), stage)


if __name__ == "__main__":
    main()
