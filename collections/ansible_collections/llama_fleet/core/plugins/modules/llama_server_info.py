# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# ruff: noqa: E402 - Ansible wants the documentation before the imports.
"""What there is of the instances on a host, what they do, and where they are not as they should be."""

from __future__ import annotations

DOCUMENTATION = r"""
module: llama_server_info
short_description: The instances of llama-server on a host, and what they do
version_added: 0.1.0
description:
  - Tells of every instance that M(llama_fleet.core.llama_server) keeps below O(root) whether it runs, what it runs,
    since when, how busy it is, and where
    what is on disk or in the process differs from its current generation.
  - Reads files, processes and the servers' own HTTP, each with a time limit. Changes nothing and fetches nothing from
    the network.
  - Needs no root. What another user may not read is named in RV(ignore:unknown) of the instance and left out.
options:
  instance:
    description: "The one instance to tell of, also where it is not there. Empty: every one that is."
    type: str
    default: ""
  expected:
    description: Names of instances that should be there. One that is not is told of as V(absent).
    type: list
    elements: str
    default: []
  root:
    description: Folder below which C(instances/<name>/generations) is kept.
    type: path
    default: /etc/llama-fleet
  runtime_root:
    description: Folder for the process ids and logs of instances that run as plain processes.
    type: path
    default: /run/llama-fleet
  metrics:
    description: Also ask a server how busy it is. Without, only whether it is in health.
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
- name: What runs here
  llama_fleet.core.llama_server_info:
  register: found

- name: Show what is not as it should be
  ansible.builtin.debug:
    msg: "{{ found.instances | items2dict(key_name='instance', value_name='drift') }}"

- name: Fail where the instance for chats does not run
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
  description: Every instance, by name.
  returned: success
  type: list
  elements: dict
  contains:
    instance:
      description: Its name.
      type: str
      sample: default
    state:
      description:
        - V(running), V(loading) its model, V(unresponsive) where its process lives and does not answer well or its
          container's engine does not tell,
          V(stopped) as was asked for, V(failed) where it does not run and nobody asked for that, V(absent).
      type: str
      sample: running
    generation:
      description: Number of its current generation; 0 without one.
      type: int
    good:
      description: Whether that passed its gate.
      type: bool
    generations:
      description: Those on disk, the oldest first.
      type: list
      elements: dict
      contains:
        number: {description: Its number., type: int}
        good: {description: Whether it passed its gate., type: bool}
        created: {description: "When it was made, in UTC.", type: str, sample: "2026-11-21T23:56:04Z"}
        build: {description: Its release's build., type: str, sample: b11434}
        model: {description: Name of its model's first file., type: str}
        current: {description: Whether it is the current one., type: bool}
        speed: {description: Tokens a second that its gate measured; 0 where none did., type: float}
    runtime:
      description: What keeps it running.
      type: str
      sample: systemd
    release:
      description: Folder of its release.
      type: str
    build:
      description: The release's build.
      type: str
      sample: b11434
    model:
      description: Its model's first file.
      type: str
    quant:
      description: The quantisation that the file's name tells.
      type: str
      sample: Q4_K_M
    endpoint:
      description: Where a client on the host reaches it.
      type: str
      sample: http://127.0.0.1:8080
    device:
      description: The devices that it computes on.
      type: str
      sample: CUDA0
    pid:
      description: Its process id; 0 if it does not run.
      type: int
    memory_mib:
      description: RAM that the process holds, with those parts of the model's file that are mapped.
      type: int
    gpu_memory_mib:
      description: Memory that it holds on NVIDIA GPUs.
      type: int
    uptime_seconds:
      description: How long the process lives.
      type: int
    slots:
      description: Slots that the server has. Like the numbers that follow, -1 where it does not say.
      type: int
    slots_busy:
      description: Slots that work on a request.
      type: int
    requests_deferred:
      description: Requests that wait for a slot.
      type: int
    tokens_predicted:
      description: Tokens generated since the start.
      type: int
    tokens_per_second:
      description: Tokens generated a second, on average.
      type: float
    prompt_tokens_per_second:
      description: Tokens of prompts read a second, on average.
      type: float
    drift:
      description: A sentence for each thing on disk or in the process that is not as the current generation has it.
      type: list
      elements: str
      sample: ["the process runs generation 3, not 4"]
    unknown:
      description: What could not be read or asked, and why.
      type: list
      elements: str
    log:
      description: The log file, or the command that shows the log.
      type: str
"""

import os
import pathlib
import typing

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, raise_if_any
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.host import this_host
from ansible_collections.llama_fleet.core.plugins.module_utils.server.status import verdict
from ansible_collections.llama_fleet.core.plugins.module_utils.server.status.info import Inspector, is_name
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
        if not is_name(name)
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
