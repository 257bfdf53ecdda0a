# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: validate_variables
short_description: Check the variables of several roles before anything runs
version_added: 0.1.0
description:
  - Compares every variable that begins with the name of one of O(roles) with that role's argument specification.
  - Fails once, with a sentence for each unknown variable (and the nearest one that exists) and each value of a wrong
    type.
  - Checks the entries of C(llama_server_instances) in the same way, against the specifications of every role, and that
    no two instances have the same port.
  - Runs on the controller only. Values that depend on results that are not there yet are left to the role's own check.
options:
  roles:
    description:
      - Roles of this collection, by their short names.
    type: list
    elements: str
    default: []
  one_instance:
    description:
      - Fail where several instances are meant, and name them.
    type: bool
    default: false
  shared_gpus:
    description:
      - Check only whether two instances take the same GPU because one of them names none; for a host that computes on
        GPUs.
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
"""

EXAMPLES = r"""
- name: Find a misspelt variable before a build begins
  llama_fleet.core.validate_variables:
    roles:
      - llama_cpp
      - llama_server
"""

RETURN = r"""
instances:
  description:
    - The names of the instances that are meant. The one that C(llama_server_instance) names, or every one of
      C(llama_server_instances), first those that are
      not to run.
  returned: success
  type: list
  elements: str
  sample: [chat, embed]
fleet:
  description: The names of all hosts that the play is for.
  returned: where the play runs in batches
  type: list
  elements: str
  sample: [gpu-1, gpu-2, gpu-3]
"""
