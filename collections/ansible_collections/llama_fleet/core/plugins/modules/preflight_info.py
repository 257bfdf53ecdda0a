# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# ruff: noqa: E402 - Ansible wants the documentation before the imports.
"""What would keep a host from becoming what its variables say, found out before anything on it is changed."""

from __future__ import annotations

DOCUMENTATION = r"""
module: preflight_info
short_description: What would keep a host from running llama-server
version_added: 0.1.0
description:
  - Looks at compiler, Python, rights, disk, memory, processors, ports and runtime of a host, and asks the source, the
    Hub and the package index whether
    they answer, as far as the instances that the host is to have need them.
  - What the roles' modules check themselves is checked by the same functions here. A release and a model need not be
    there.
  - Changes nothing, installs nothing, and waits for nobody on the network longer than O(timeout) allows.
options:
  instances:
    description:
      - The instances by name, each with role variables by their full names.
      - "The module's action plugin fills in what is not given: from the host's variables, with
        V(llama_server_instances) or without, and from the
        roles' defaults. So nothing need be given where a play has the roles' variables."
      - Instances that are not to run are left out.
    type: dict
    default: {}
  plans:
    description:
      - What the roles' modules have returned so far, by instance and then by role.
      - With a result of V(llama_cpp) nothing that the stages' plans check is looked at again, only what none of them
        sees, such as whether there is room
        for all of it, and who has to answer later.
      - The C(msg) and C(problems) of a plan that failed are in V(failed) in the place of the results that it has none
        of.
    type: dict
    default: {}
  tokens:
    description: Access tokens for the Hub, by instance. The module's action plugin takes them from V(gguf_model_token).
    type: dict
    default: {}
  timeout:
    description:
      - How many seconds a server may be silent. All are asked side by side, and for all that is asked of them they have
        two and a half times as long.
    type: int
    default: 10
  stop:
    description: Fail with every error that was found, after the one that an instance's plan has failed with, and tell
      the warnings.
    type: bool
    default: false
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
  - module: llama_fleet.core.nvidia_driver_info
"""

EXAMPLES = r"""
- name: Look for what would go wrong
  llama_fleet.core.preflight_info:
  register: found

- name: Show it
  ansible.builtin.debug:
    msg: "{{ found.problems }}"

- name: Stop where an instance could not run
  llama_fleet.core.preflight_info:
    instances:
      chat:
        gguf_model_source: ggml-org/gpt-oss-20b-GGUF
        llama_server_port: 8081
    stop: true
"""

RETURN = r"""
checks:
  description: Everything that was looked at.
  returned: always
  type: list
  elements: dict
  contains:
    code:
      description: What was checked; stable, for programs.
      type: str
      sample: port
    severity:
      description: V(ok), V(warning), or V(error) where it will fail.
      type: str
      sample: error
    subject:
      description: The role variable or the thing on the host that it is about.
      type: str
      sample: llama_server_port
    found:
      description: What was found.
      type: str
      sample: port 8080, on which pid 812 (nginx) listens
    wanted:
      description: What was wanted instead; empty where all is well.
      type: str
      sample: a free port
    fix:
      description: What to do, where V(wanted) does not say it already.
      type: str
      sample: choose another port or stop that process
errors:
  description: A sentence for each of RV(checks) that is an V(error).
  returned: always
  type: list
  elements: str
problems:
  description: Those of RV(checks) that are not V(ok), the worst first.
  returned: always
  type: list
  elements: dict
"""

import dataclasses

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.llama_fleet.core.plugins.module_utils import payload
from ansible_collections.llama_fleet.core.plugins.module_utils.preflight import checks as preflight
from ansible_collections.llama_fleet.core.plugins.module_utils.preflight.check import errors, problems


def run(module: AnsibleModule) -> None:
    payload.forget(str(getattr(module, "_remote_tmp", "") or ""))
    given = module.params
    checks = preflight.checks(
        given["instances"],
        given["plans"],
        given["tokens"],
        preflight.Host(limit=given["timeout"]),
        untold=given["stop"],
    )
    found = problems(checks)
    result = {
        "changed": False,
        "checks": [dataclasses.asdict(check) for check in checks],
        "problems": [dataclasses.asdict(check) for check in found],
        "errors": errors(checks),
    }
    if given["stop"]:
        failures = [str(plans["failed"]["msg"]) for plans in given["plans"].values() if "failed" in plans]
        if sentences := [*failures, *errors(checks)]:
            module.fail_json(msg="\n".join(sentences), **result)
        for check in found:
            module.warn(str(check.problem))
    module.exit_json(**result)


def main() -> None:
    run(
        AnsibleModule(
            argument_spec={
                "instances": {"type": "dict", "default": {}},
                "plans": {"type": "dict", "default": {}},
                "tokens": {"type": "dict", "default": {}, "no_log": True},
                "timeout": {"type": "int", "default": 10},
                "stop": {"type": "bool", "default": False},
            },
            supports_check_mode=True,
        )
    )


if __name__ == "__main__":
    main()
