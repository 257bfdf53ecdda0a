# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What people tune of a llama-server, what it may use of its host, and who may use it."""

from __future__ import annotations


class ModuleDocFragment:
    """The arguments of llama_server beside the most common ones."""

    DOCUMENTATION = r"""
options:
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
"""
