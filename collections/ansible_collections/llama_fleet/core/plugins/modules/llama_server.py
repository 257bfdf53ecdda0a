# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# ruff: noqa: E402 - Ansible wants the documentation before the imports.

from __future__ import annotations

DOCUMENTATION = r"""
module: llama_server
short_description: Run an instance of llama-server
version_added: 0.1.0
author:
  - The llama-fleet authors (@llama-fleet)
description:
  - Renders a numbered generation of an instance (environment, unit and manifest), checks everything that can be checked
    while the old generation still serves, switches to the new one, and marks it as good once it has generated tokens.
  - If the new generation does not become good, the last good generation runs again and the module fails.
  - An instance whose generation does not change is not restarted.
options:
  instance:
    description: "Name of the instance: lower-case letters, digits and hyphens."
    type: str
    default: default
  state:
    description:
      - V(started) runs the instance now and at boot. V(stopped) stops it and keeps its generations. V(absent) removes
        it with its generations.
      - V(rolled_back) runs an earlier good generation again; see O(to_generation).
    type: str
    choices: [started, stopped, absent, rolled_back]
    default: started
  runtime:
    description:
      - V(systemd) runs the server as a systemd unit.
      - V(quadlet) runs it as a Podman container managed by systemd, V(docker) as a Docker Compose service. Both run the
        host's own release inside O(image).
      - V(process) runs it as a background process in its own session, for machines without systemd.
      - "V(exec) tests a new generation on a temporary port and leaves nothing running: the caller executes
        RV(ignore:command) with the variables in RV(ignore:environment_file), as the container's entrypoint does."
      - V(auto) uses V(systemd) if systemd is PID 1, and V(process) otherwise.
    type: str
    choices: [auto, systemd, quadlet, docker, process, exec]
    default: auto
  image:
    description: Container image in which the host's release runs. Required if O(runtime) is V(quadlet) or V(docker).
    type: str
    default: ""
  memory_max:
    description: "Memory limit of the instance in systemd's notation, for example V(24G) or V(80%). Empty: no limit."
    type: str
    default: ""
  cpu_quota:
    description: "CPU time limit of the instance, for example V(200%) for two cores. Empty: no limit."
    type: str
    default: ""
  drain_timeout:
    description:
      - Seconds to wait for requests in flight before the server is replaced or stopped. The server keeps answering
        meanwhile. An idle server is not waited for.
      - "Requests still in flight after that are cut off and counted. V(0): stop at once."
    type: int
    default: 30
  stop_timeout:
    description: Seconds between the request to stop and the kill signal. A server with an open request does not stop by
      itself.
    type: int
    default: 1
  release:
    description: Folder of the llama.cpp release to run, which contains C(bin/llama-server). Required unless O(state) is
      V(stopped) or V(absent).
    type: path
    default: ""
  model:
    description:
      - The model's first file. Required unless O(state) is V(stopped) or V(absent).
      - Leave it empty to serve several models with V(router) in O(allow) and C(models-dir) in O(extra_options).
    type: path
    default: ""
  backend:
    description: Backend that must do the computation. An instance with V(cuda) that runs on the CPU fails its gate.
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
    description: Context size of each slot, in tokens. The server's total context is this times O(parallel).
    type: int
    default: 4096
  parallel:
    description: "Number of slots: requests that are processed at the same time."
    type: int
    default: 16
  max_tokens:
    description: "Maximum number of tokens to generate for a request that sets no limit. V(-1): no limit."
    type: int
    default: 2048
  batch_size:
    description: Logical batch size, in tokens.
    type: int
    default: 2048
  ubatch_size:
    description: Physical batch size, in tokens.
    type: int
    default: 512
  threads:
    description: "Number of compute threads. V(0): one for each physical core (of a hybrid CPU: performance core), or
      fewer if a cgroup quota or an affinity mask allows fewer."
    type: int
    default: 0
  n_gpu_layers:
    description: "Layers to keep on the GPU: a number, V(auto) or V(all). Ignored if O(backend) is V(cpu)."
    type: str
    default: auto
  devices:
    description: "Devices to compute on: names such as V(CUDA0), or UUIDs of GPUs and MIG slices as C(nvidia-smi -L)
      shows them. Empty: every GPU with O(backend=cuda), none with O(backend=cpu)."
    type: list
    elements: str
    default: []
  alias:
    description: "Name of the model in the API. Newer releases accept several names, separated by commas. Empty: the
      model's file name."
    type: str
    default: ""
  api_key:
    description: "API key that requests must send. Empty: no key is required."
    type: str
    default: ""
  split_mode:
    description: "How to split a model across several GPUs. Empty: the release's default."
    type: str
    choices: ["", "none", layer, row, tensor]
    default: ""
  tensor_split:
    description: "Share of the model for each GPU, for example V([3, 1]). Empty: in proportion to their free memory."
    type: list
    elements: float
    default: []
  main_gpu:
    description: Index in O(devices) of the GPU that holds what is not split.
    type: int
    default: 0
  flash_attn:
    description: Flash attention. V(auto) enables it if the devices support it.
    type: str
    choices: [auto, "on", "off"]
    default: "auto"
  cache_type_k:
    description: Data type of the keys in the KV cache.
    type: str
    choices: [f32, f16, bf16, q8_0, q4_0, q4_1, iq4_nl, q5_0, q5_1]
    default: "f16"
  cache_type_v:
    description: Data type of the values in the KV cache. A quantized type requires flash attention.
    type: str
    choices: [f32, f16, bf16, q8_0, q4_0, q4_1, iq4_nl, q5_0, q5_1]
    default: "f16"
  load_mode:
    description: "How to load the model file: memory-mapped (V(mmap)), locked in RAM (V(mlock)), both, with direct I/O
      (V(direct)), or with plain reads (V(none))."
    type: str
    choices: [auto, mmap, mlock, mmap+mlock, direct, "none"]
    default: "auto"
  cache_ram:
    description: "Maximum RAM for the prompt cache, in MiB. V(-1): no limit. V(0): no prompt cache."
    type: int
    default: 8192
  kv_unified:
    description: Let the slots share one KV cache of O(ctx_size) times O(parallel) tokens. A request may then use more
      than O(ctx_size) tokens while others use fewer.
    type: bool
    default: false
  mmproj:
    description: "Projector file of a model with image or audio input. Empty: none."
    type: path
    default: ""
  lora:
    description: LoRA adapters by absolute path, each optionally followed by a colon and its scale, for example
      C(/srv/a.gguf:0.5). The default scale is 1.
    type: list
    elements: str
    default: []
  adapters:
    description: LoRA adapters that M(llama_fleet.core.gguf_model) provides, loaded after those in O(lora).
    type: list
    elements: str
    default: []
  draft:
    description: "Draft model for speculative decoding, by absolute path. Empty: none."
    type: path
    default: ""
  draft_type:
    description: "Type of speculative decoding with O(draft), by llama-server's name, such as V(draft-simple) or
      V(draft-eagle3). Empty: the release's default. C(spec-type) in O(extra_options) has precedence."
    type: str
    default: ""
  chat_template:
    description: "Chat template: the name of one built into the release, Jinja source, or the absolute path of a file.
      Empty: the model's own."
    type: str
    default: ""
  jinja:
    description: Use the Jinja engine for chat templates. Tool calls and reasoning require it.
    type: bool
    default: true
  reasoning:
    description: "Ask the model to reason before it answers. V(auto): as its template does."
    type: str
    choices: [auto, "on", "off"]
    default: "auto"
  embeddings:
    description: Serve embeddings only. Requires an embedding model.
    type: bool
    default: false
  rerank:
    description: Serve reranking only. Requires a reranking model.
    type: bool
    default: false
  metrics:
    description: Serve Prometheus metrics at C(/metrics).
    type: bool
    default: true
  slots:
    description: Serve the state of each slot at C(/slots).
    type: bool
    default: true
  api_keys:
    description: Additional API keys. A request may send any of them.
    type: list
    elements: str
    default: []
  tls_certificate:
    description: "PEM file with the server's certificate, followed by the intermediate certificates. Requires
      O(tls_key). Empty: plain HTTP."
    type: path
    default: ""
  tls_key:
    description: PEM file with the certificate's private key.
    type: path
    default: ""
  cors_origins:
    description:
      - "Origin whose web pages may use the server: for example V(https://chat.example), V(localhost), or V(*) for every
        origin. llama-server supports only one."
      - "Empty: every origin if an API key is required, otherwise localhost only."
      - Releases without this option accept every origin.
    type: list
    elements: str
    default: []
  timeout:
    description: Read and write timeout of a connection, in seconds.
    type: int
    default: 3600
  log_level:
    description: Log level of the server. No level logs the content of requests. V(debug) requires no API key or at
      least two, because llama-server logs the last characters of an only key.
    type: str
    choices: [error, warning, info, debug]
    default: "info"
  allow_unauthenticated:
    description: Allow an instance without an API key to listen on an address that other hosts can reach. TLS does not
      authenticate clients.
    type: bool
    default: false
  allow:
    description: "Features that are refused unless they are listed here: serving any of several models (V(router)),
      tools that run on the host, agents, MCP servers, and computing on other hosts (V(rpc))."
    type: list
    elements: str
    choices: [router, tools, agent, mcp, rpc]
    default: []
  extra_options:
    description: "Further llama-server options by their long name without leading hyphens, for example C(top-k: 20).
      V(true) sets a flag that takes no value, V(false) its C(no-) form. A list repeats the option."
    type: dict
    default: {}
  prompt:
    description: "Prompt to send once the instance is ready; the result contains the answer. Empty: none. The gate
      of a started instance generates tokens in any case. An instance that sleeps is not asked."
    type: str
    default: ""
  ready_timeout:
    description: "Seconds to wait until the instance is ready. V(0): depends on the size of the model."
    type: int
    default: 0
  to_generation:
    description: "Generation to return to with O(state=rolled_back). V(0): the last good generation before the current
      one; each run goes back one further."
    type: int
    default: 0
  keep:
    description: Number of good generations to keep, at least 1.
    type: int
    default: 5
  min_speed_ratio:
    description:
      - "Minimum speed of a new generation, as a fraction of the speed of the last good one. V(0): any speed."
      - If the first measurement is below it, both generate in turns, the earlier one on a free port of the loopback. A
        difference within the noise of the host is no failure. Without memory for both, their intervals are compared.
    type: float
    default: 0.0
  memory_check:
    description: Refuse a generation that does not fit into the memory of its devices, before the switch.
    type: bool
    default: true
  root:
    description: Folder that contains C(instances/<name>/generations).
    type: path
    default: /etc/llama-fleet
  runtime_root:
    description: Folder for PID files and logs of instances with O(runtime=process).
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

- name: Return to the last good generation
  llama_fleet.core.llama_server:
    state: rolled_back

- name: Stop the instance, now and at boot
  llama_fleet.core.llama_server:
    state: stopped
"""

RETURN = r"""
instance:
  description: Name of the instance.
  returned: success
  type: str
state:
  description: State of the instance.
  returned: success
  type: str
runtime:
  description: Runtime of the instance, V(systemd), V(quadlet), V(docker), V(process) or V(exec).
  returned: success
  type: str
generation:
  description: Number of the current generation, or of the planned one; 0 if there is none.
  returned: success
  type: int
endpoint:
  description: URL of the instance for clients on the host, or with RV(listens_everywhere) and SSH
    for those on the controller.
  returned: success
  type: str
  sample: http://127.0.0.1:8080
listens_everywhere:
  description: Whether the instance listens on all addresses of the host.
  returned: success
  type: bool
certificate:
  description: File of the TLS certificate; empty without TLS.
  returned: success
  type: str
device:
  description: Devices that compute, V(cpu) or for example V(CUDA0).
  returned: success
  type: str
command:
  description: Command line, without secrets.
  returned: success
  type: list
  elements: str
environment_file:
  description: File with the environment variables.
  returned: success
  type: str
pid:
  description: Process ID; 0 if the instance does not run.
  returned: success
  type: int
restarted:
  description: Whether this run started or restarted the instance.
  returned: success
  type: bool
in_flight:
  description: Requests in flight when this run began to stop or replace the server; C(-1) if the server did not report
    them.
  returned: success
  type: int
cut:
  description: Requests still in flight after O(drain_timeout), which were cut off; C(-1) if the server did not report
    them.
  returned: success
  type: int
ready:
  description:
    - Whether the instance passed its gate in this run.
    - A plan also checks an unchanged instance. If this is true in a plan, a run has nothing to do.
  returned: success
  type: bool
answer:
  description: The model's answer to O(prompt).
  returned: success
  type: str
log:
  description: Log file, or the command that shows the log.
  returned: success
  type: str
context:
  description: Tokens that one request can use.
  returned: success
  type: int
threads:
  description: Number of compute threads.
  returned: success
  type: int
memory:
  description: Planned memory on each device in MiB, as C(device), C(model_mib), C(context_mib), C(compute_mib) and
    C(free_mib).
  returned: success
  type: list
  elements: dict
speed:
  description: Tokens per second generated at the gate; 0 if not measured.
  returned: success
  type: float
changed_parts:
  description: Options and other parts in which the generation differs from the previous one.
  returned: success
  type: list
  elements: str
would_change:
  description: Whether a run without O(plan_only) and check mode would change anything.
  returned: success
  type: bool
problems:
  description: Problems, each with what was expected, what was found, and how to fix it.
  returned: failure
  type: list
  elements: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.llama_fleet.core.plugins.module_utils.server.call import stage
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.arguments import ARGUMENTS
from ansible_collections.llama_fleet.core.plugins.module_utils.stage import PROGRESS_ARGUMENTS, conclude


def main() -> None:
    conclude(AnsibleModule(argument_spec={**ARGUMENTS, **PROGRESS_ARGUMENTS}, supports_check_mode=True), stage)


if __name__ == "__main__":
    main()
