# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# ruff: noqa: E402 - Ansible wants the documentation before the imports.
from __future__ import annotations

DOCUMENTATION = r"""
module: preflight_info
short_description: Find what would keep a host from running llama-server
version_added: 0.1.0
description:
  - Checks the compiler, Python, permissions, disk, memory, processors, ports and runtime of a host, and whether the
    source, the Hub and the package index respond, as far as the host's instances need them.
  - Checks that the roles' modules also make use the same functions. Neither a release nor a model has to be present.
  - Changes nothing, installs nothing, and waits for no server longer than O(timeout) allows.
options:
  instances:
    description:
      - The instances by name, each with role variables by their full names.
      - The module's action plugin adds what is missing from the host's variables, with or without
        V(llama_server_instances), and from the roles' defaults. A play that has the roles' variables need not set this.
      - Instances that are not to run are omitted.
    type: dict
    default: {}
  plans:
    description:
      - Results that the roles' modules have returned so far, by instance and then by role.
      - With a result of V(llama_cpp) the checks of the stages' plans are not repeated. Only checks that span all plans
        are made, such as total disk space and the servers that are needed later.
      - If a plan failed, V(failed) contains its C(msg) and C(problems) in place of the missing results.
    type: dict
    default: {}
  tokens:
    description: Access tokens for the Hub, by instance. The module's action plugin takes them from V(gguf_model_token).
    type: dict
    default: {}
  timeout:
    description: Seconds to wait for each server. All servers are checked in parallel, and all requests to a server
      together may take two and a half times as long.
    type: int
    default: 10
  stop:
    description: Fail with all errors found, after the error of an instance's failed plan, and report the warnings.
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
- name: Check the host
  llama_fleet.core.preflight_info:
  register: found

- name: Show the problems
  ansible.builtin.debug:
    msg: "{{ found.problems }}"

- name: Fail if an instance could not run
  llama_fleet.core.preflight_info:
    instances:
      chat:
        gguf_model_source: ggml-org/gpt-oss-20b-GGUF
        llama_server_port: 8081
    stop: true
"""

RETURN = r"""
checks:
  description: All checks that were made.
  returned: always
  type: list
  elements: dict
  contains:
    code:
      description: Stable code of the check, for programs.
      type: str
      sample: port
    severity:
      description: V(ok), V(warning), or V(error) if a run would fail.
      type: str
      sample: error
    subject:
      description: Role variable or part of the host that was checked.
      type: str
      sample: llama_server_port
    found:
      description: What was found.
      type: str
      sample: port 8080, on which pid 812 (nginx) listens
    wanted:
      description: What was expected; empty if V(severity) is V(ok).
      type: str
      sample: a free port
    fix:
      description: How to fix it, unless V(wanted) says so already.
      type: str
      sample: choose another port or stop that process
errors:
  description: A sentence for each of RV(checks) that is an V(error).
  returned: always
  type: list
  elements: str
problems:
  description: Checks of RV(checks) that are not V(ok), the most serious first.
  returned: always
  type: list
  elements: dict
"""

import dataclasses

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.llama_fleet.core.plugins.module_utils import payload
from ansible_collections.llama_fleet.core.plugins.module_utils.preflight import checks as preflight
from ansible_collections.llama_fleet.core.plugins.module_utils.preflight.check import errors, not_ok


def run(module: AnsibleModule) -> None:
    payload.forget(str(getattr(module, "_remote_tmp", "") or ""))
    given = module.params
    checks = preflight.checks(
        given["instances"],
        given["plans"],
        given["tokens"],
        preflight.PreflightHost(limit=given["timeout"]),
        untold=given["stop"],
    )
    not_passed = not_ok(checks)
    result = {
        "changed": False,
        "checks": [dataclasses.asdict(check) for check in checks],
        "problems": [dataclasses.asdict(check) for check in not_passed],
        "errors": errors(checks),
    }
    if given["stop"]:
        failures = [str(plans["failed"]["msg"]) for plans in given["plans"].values() if "failed" in plans]
        if sentences := [*failures, *errors(checks)]:
            module.fail_json(msg="\n".join(sentences), **result)
        for check in not_passed:
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
