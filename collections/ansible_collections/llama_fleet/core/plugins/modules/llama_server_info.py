# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# ruff: noqa: E402 - Ansible wants the documentation before the imports.
from __future__ import annotations

DOCUMENTATION = r"""
module: llama_server_info
short_description: Report the state of a host's instances of llama-server
version_added: 0.1.0
description:
  - Reports the state, release, model, uptime and load of every instance that M(llama_fleet.core.llama_server) keeps
    below O(root), and any drift of its files or process from the current generation.
  - Reads files, processes and the servers' HTTP endpoints, each with a time limit. Changes nothing and makes no request
    to other hosts.
  - Does not need root. What the user may not read is listed in RV(ignore:unknown) of the instance and omitted.
options:
  instance:
    description: "Report only this instance, even if it does not exist. Empty: all instances."
    type: str
    default: ""
  expected:
    description: Names of instances that should exist. A missing one is reported as V(absent).
    type: list
    elements: str
    default: []
  root:
    description: Folder that contains C(instances/<name>/generations).
    type: path
    default: /etc/llama-fleet
  runtime_root:
    description: Folder for PID files and logs of instances that run as plain processes.
    type: path
    default: /run/llama-fleet
  metrics:
    description: Also query each server's load. If false, only its health is queried.
    type: bool
    default: true
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
  - module: llama_fleet.core.llama_server
"""

EXAMPLES = r"""
- name: Report all instances
  llama_fleet.core.llama_server_info:
  register: found

- name: Show the drift of each instance
  ansible.builtin.debug:
    msg: "{{ found.instances | items2dict(key_name='instance', value_name='drift') }}"

- name: Fail if the instance chat does not run
  llama_fleet.core.llama_server_info:
    instance: chat
    metrics: false
  register: found
  failed_when: found.instances[0].state != 'running'
"""

RETURN = r"""
errors:
  description: A sentence for each reason why the host is not as wanted, such as an instance that neither runs nor was
    stopped, or drift. Empty if it is as wanted.
  returned: success
  type: list
  elements: str
  sample: ["chat: failed"]
instances:
  description: All instances, sorted by name.
  returned: success
  type: list
  elements: dict
  contains:
    instance:
      description: Name of the instance.
      type: str
      sample: default
    state:
      description:
        - V(running), V(loading) its model, V(stopped) as requested, or V(absent).
        - V(sleeping) if it has unloaded its model because it was idle; the next request loads it again. Reading this
          does not wake it.
        - V(unresponsive) if the process is alive but does not answer properly, or the container engine does not report
          its state.
        - V(failed) if it does not run although it should.
      type: str
      sample: running
    generation:
      description: Number of the current generation; 0 if there is none.
      type: int
    good:
      description: Whether the current generation passed its gate.
      type: bool
    generations:
      description: Generations on disk, the oldest first.
      type: list
      elements: dict
      contains:
        number: {description: Number of the generation., type: int}
        good: {description: Whether it passed its gate., type: bool}
        created: {description: "Time of creation, in UTC.", type: str, sample: "2026-11-21T23:56:04Z"}
        build: {description: Build of its release., type: str, sample: b11434}
        model: {description: Name of the model's first file., type: str}
        current: {description: Whether it is the current one., type: bool}
        speed: {description: Tokens per second measured at its gate; 0 if not measured., type: float}
    runtime:
      description: Runtime of the instance.
      type: str
      sample: systemd
    release:
      description: Folder of the release.
      type: str
    build:
      description: Build of the release.
      type: str
      sample: b11434
    model:
      description: The model's first file.
      type: str
    quant:
      description: Quantization according to the file's name.
      type: str
      sample: Q4_K_M
    endpoint:
      description: URL of the instance for clients on the host, or with RV(ignore:listens_everywhere) and SSH
        for those on the controller.
      type: str
      sample: http://127.0.0.1:8080
    listens_everywhere:
      description: Whether the instance listens on all addresses of the host.
      type: bool
    device:
      description: Devices that compute.
      type: str
      sample: CUDA0
    pid:
      description: Process ID; 0 if the instance does not run.
      type: int
    memory_mib:
      description: RAM of the process in MiB, including the mapped parts of the model file.
      type: int
    gpu_memory_mib:
      description: Memory of the process on NVIDIA GPUs, in MiB.
      type: int
    uptime_seconds:
      description: Seconds since the process started.
      type: int
    slots:
      description: Number of slots. This and the following numbers are -1 if the server does not report them.
      type: int
    slots_busy:
      description: Slots that are processing a request.
      type: int
    requests_deferred:
      description: Requests waiting for a slot.
      type: int
    tokens_predicted:
      description: Tokens generated since the server started.
      type: int
    tokens_per_second:
      description: Average number of tokens generated per second.
      type: float
    prompt_tokens_per_second:
      description: Average number of prompt tokens processed per second.
      type: float
    drift:
      description: A sentence for each difference of files or process from the current generation.
      type: list
      elements: str
      sample: ["the process runs generation 3, not 4"]
    unknown:
      description: What could not be read or queried, and why.
      type: list
      elements: str
    log:
      description: Log file, or the command that shows the log.
      type: str
"""

import os
import pathlib
import typing

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, raise_if_any
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.host import this_host
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.instance_name import is_instance_name
from ansible_collections.llama_fleet.core.plugins.module_utils.server.status import verdict
from ansible_collections.llama_fleet.core.plugins.module_utils.server.status.info import Inspector
from ansible_collections.llama_fleet.core.plugins.module_utils.stage import conclude


def stage(module: AnsibleModule) -> dict[str, typing.Any]:
    given = module.params
    problems = [
        Problem(name, f"'{given[name]}'", "an absolute path")
        for name in ("root", "runtime_root")
        if not os.path.isabs(given[name])
    ]
    asked = [given["instance"]] if given["instance"] else []
    problems += [
        Problem("instance", repr(name), "the name of an instance")
        for name in [*asked, *given["expected"]]
        if not is_instance_name(name)
    ]
    raise_if_any(problems)
    inspector = Inspector(
        pathlib.Path(given["root"]), pathlib.Path(given["runtime_root"]), this_host(), given["metrics"]
    )
    names = asked or sorted({*inspector.names(), *given["expected"]})
    instances = [inspector.inspect(name) for name in names]
    return {"changed": False, "instances": instances, "errors": verdict.errors(instances)}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "instance": {"type": "str", "default": ""},
            "expected": {"type": "list", "elements": "str", "default": []},
            "root": {"type": "path", "default": "/etc/llama-fleet"},
            "runtime_root": {"type": "path", "default": "/run/llama-fleet"},
            "metrics": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )
    conclude(module, stage)


if __name__ == "__main__":
    main()
