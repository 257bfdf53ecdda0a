# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# ruff: noqa: E402 - Ansible wants the documentation before the imports.
from __future__ import annotations

DOCUMENTATION = r"""
module: plan_info
short_description: Plan every stage of every instance of a host
version_added: 0.1.0
description:
  - Plans the GPUs and their driver, the CUDA toolkit, the release, the model and the server of each instance in one
    call, and hands the result of each stage to the next.
  - The result of a stage is that of its own module with C(plan_only).
  - If a stage fails, the instance's further stages are not planned; the other instances are.
  - Changes nothing. An unchanged instance is asked whether it answers.
options:
  instances:
    description:
      - The arguments of each stage's module by instance and then by role. Instances that are not to run have those of
        C(llama_server) only.
      - The module's action plugin sets them from the host's variables and the roles' defaults.
    type: dict
    default: {}
  secrets:
    description: The secret arguments, by instance and then by role. The module's action plugin sets them.
    type: dict
    default: {}
  stages:
    description: The roles of the stages to plan, for example without C(gguf_model) and C(llama_server) for a release.
    type: list
    elements: str
    choices: [nvidia_driver, cuda_toolkit, llama_cpp, gguf_model, llama_server]
    default: [nvidia_driver, cuda_toolkit, llama_cpp, gguf_model, llama_server]
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
  - module: llama_fleet.core.preflight_info
"""

EXAMPLES = r"""
- name: Plan every instance
  llama_fleet.core.plan_info:
  register: planned

- name: Show the releases
  ansible.builtin.debug:
    msg: "{{ planned.plans | dict2items | map(attribute='value.llama_cpp.path') }}"
"""

RETURN = r"""
plans:
  description:
    - The result of each stage by instance and then by role, empty for stages that were not planned.
    - C(failed) has the C(msg) and the C(problems) of a stage that failed. C(is_settled) is whether a run would change
      nothing and the instance answers. C(has_work) is whether a release or a model must be provided.
  returned: always
  type: dict
has_several:
  description: Whether the host has several instances.
  returned: always
  type: bool
"""

import typing

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.llama_fleet.core.plugins.module_utils.planning import plan
from ansible_collections.llama_fleet.core.plugins.module_utils.stage import conclude


def plan_all(module: AnsibleModule) -> dict[str, typing.Any]:
    plans = {}
    for name, given in module.params["instances"].items():
        hidden = module.params["secrets"].get(name, {})
        arguments = {role: {**values, **hidden.get(role, {})} for role, values in given.items()}
        plans[name] = plan.plan_instance(arguments, module.check_mode, module.warn, module.params["stages"])
    return {"changed": False, "plans": plans, "has_several": len(plans) > 1}


def main() -> None:
    conclude(
        AnsibleModule(
            argument_spec={
                "instances": {"type": "dict", "default": {}},
                "secrets": {"type": "dict", "default": {}, "no_log": True},
                "stages": {"type": "list", "elements": "str", "choices": list(plan.STEPS), "default": list(plan.STEPS)},
            },
            supports_check_mode=True,
        ),
        plan_all,
    )


if __name__ == "__main__":
    main()
