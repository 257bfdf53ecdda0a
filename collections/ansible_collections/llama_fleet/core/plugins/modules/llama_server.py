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
  - llama_fleet.core.server
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
from ansible_collections.llama_fleet.core.plugins.module_utils.server import plan as server_plan
from ansible_collections.llama_fleet.core.plugins.module_utils.server import stage as server_stage
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.arguments import (
    ARGUMENTS,
    notes,
    options_of,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.stage import PROGRESS_ARGUMENTS, conclude


def stage(module: AnsibleModule) -> dict[str, typing.Any]:
    dry = module.check_mode or module.params["plan_only"]
    for note in notes(module.params):
        module.warn(note)
    progress = Progress(module.params["progress_file"] or "")
    result = server_stage.Stage(options_of(module.params), progress, server_plan.this_host(), dry).run()
    for warning in result.pop("warnings", []):
        module.warn(warning)
    return {**result, "changed": result["changed"] and not module.params["plan_only"]}


def main() -> None:
    conclude(AnsibleModule(argument_spec={**ARGUMENTS, **PROGRESS_ARGUMENTS}, supports_check_mode=True), stage)


if __name__ == "__main__":
    main()
