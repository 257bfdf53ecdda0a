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
  - Renders a numbered generation of an instance (environment, unit, manifest), proves what can be proved while the old one still serves, switches, and
    counts the new one as good once it has generated tokens. Where it does not become good, the last good generation runs again and the module fails.
  - An instance whose generation does not change is not restarted.
options:
  instance:
    description: "The instance's name: lower-case letters, digits and hyphens."
    type: str
    default: default
  state:
    description: V(started) runs the instance, now and at boot; V(stopped) keeps it but stops it; V(absent) removes it with its generations.
    type: str
    choices: [started, stopped, absent]
    default: started
  runtime:
    description:
      - V(systemd) makes a unit. V(process) makes a process of its own session, for machines without systemd. V(auto) takes systemd where it is PID 1,
        else a process.
      - "V(exec) renders the generation and starts nothing: the caller executes RV(ignore:command) with the variables of RV(ignore:environment_file)."
    type: str
    choices: [auto, systemd, process, exec]
    default: auto
  release:
    description: Folder of the release to run, with C(bin/llama-server) in it. Wanted unless O(state) is V(stopped) or V(absent).
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
    description: "Threads that compute. V(0): physical cores, less where a cgroup quota or an affinity mask allows less."
    type: int
    default: 0
  n_gpu_layers:
    description: "Layers kept on the GPU: a number, V(auto) or V(all). Without meaning where O(backend) is V(cpu)."
    type: str
    default: auto
  devices:
    description: "Devices to compute on, such as V(CUDA0). Empty: every GPU with O(backend=cuda), none with O(backend=cpu)."
    type: list
    elements: str
    default: []
  alias:
    description: "The model's name in the API. Empty: the name of its file."
    type: str
    default: ""
  api_key:
    description: "Key that requests must carry. Empty: none."
    type: str
    default: ""
  extra_options:
    description:
      - "Further options of llama-server by their long name without hyphens in front, such as C(flash-attn: 'on'). V(true) stands for a flag without a value,
        V(false) for its C(no-) form, a list for several values."
    type: dict
    default: {}
  prompt:
    description: "A question to ask once the instance is ready; the answer is in the result. Empty: none, a token is generated all the same."
    type: str
    default: ""
  ready_timeout:
    description: Seconds the instance has to become ready.
    type: int
    default: 600
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
    model: /var/lib/llama-fleet/models/ggml-org/gemma-3-1b-it-GGUF/0123456789abcdef0123456789abcdef01234567/gemma-3-1b-it-Q4_K_M.gguf
    ctx_size: 8192
    parallel: 4
    extra_options:
      flash-attn: "on"
      metrics: true

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
  description: What keeps it running, V(systemd), V(process) or V(exec).
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
ready:
  description: Whether it passed its gate in this run.
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

import dataclasses
import pathlib
import typing

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.llama_fleet.core.plugins.module_utils import server_plan, server_stage
from ansible_collections.llama_fleet.core.plugins.module_utils.progress import Progress
from ansible_collections.llama_fleet.core.plugins.module_utils.server_options import Options
from ansible_collections.llama_fleet.core.plugins.module_utils.stage import PROGRESS_ARGUMENTS, conclude

ARGUMENTS: dict[str, dict[str, typing.Any]] = {
    "instance": {"type": "str", "default": "default"},
    "state": {"type": "str", "choices": ["started", "stopped", "absent"], "default": "started"},
    "runtime": {"type": "str", "choices": ["auto", "systemd", "process", "exec"], "default": "auto"},
    "release": {"type": "path", "default": ""},
    "model": {"type": "path", "default": ""},
    "backend": {"type": "str", "choices": ["cpu", "cuda"], "default": "cpu"},
    "host": {"type": "str", "default": "127.0.0.1"},
    "port": {"type": "int", "default": 8080},
    "ctx_size": {"type": "int", "default": 4096},
    "parallel": {"type": "int", "default": 16},
    # Said in so many words, for Ansible takes "token" for a secret.
    "max_tokens": {"type": "int", "no_log": False, "default": 2048},
    "batch_size": {"type": "int", "default": 2048},
    "ubatch_size": {"type": "int", "default": 512},
    "threads": {"type": "int", "default": 0},
    "n_gpu_layers": {"type": "str", "default": "auto"},
    "devices": {"type": "list", "elements": "str", "default": []},
    "alias": {"type": "str", "default": ""},
    "api_key": {"type": "str", "no_log": True, "default": ""},
    "extra_options": {"type": "dict", "default": {}},
    "prompt": {"type": "str", "default": ""},
    "ready_timeout": {"type": "int", "default": 600},
    "root": {"type": "path", "default": "/etc/llama-fleet"},
    "runtime_root": {"type": "path", "default": "/run/llama-fleet"},
}


def options_of(params: typing.Mapping[str, typing.Any]) -> Options:
    """The module's parameters, typed."""
    values = {field.name: params[field.name] for field in dataclasses.fields(Options)}
    values["devices"] = tuple(params["devices"])
    values["root"] = pathlib.Path(params["root"])
    values["runtime_root"] = pathlib.Path(params["runtime_root"])
    return Options(**values)


def stage(module: AnsibleModule) -> dict[str, typing.Any]:
    dry = module.check_mode or module.params["plan_only"]
    progress = Progress(module.params["progress_file"] or "")
    result = server_stage.Stage(options_of(module.params), progress, server_plan.this_host(), dry).run()
    return {**result, "changed": result["changed"] and not module.params["plan_only"]}


def main() -> None:
    conclude(AnsibleModule(argument_spec={**ARGUMENTS, **PROGRESS_ARGUMENTS}, supports_check_mode=True), stage)


if __name__ == "__main__":
    main()
