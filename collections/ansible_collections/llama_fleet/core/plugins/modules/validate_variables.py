# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: validate_variables
short_description: Check the variables of several roles before anything runs
version_added: 0.1.0
description:
  - Compares every variable whose name begins with one of O(roles) with that role's argument spec.
  - Fails once, with a sentence for each unknown variable (and the most similar one that exists) and each value of a
    wrong type.
  - Checks the entries of C(llama_server_instances) in the same way against the argument specs of all roles, and that no
    two instances use the same port.
  - Runs on the controller only. Values that depend on results that are not available yet are left to the role's own
    check.
options:
  roles:
    description: Roles of this collection, by their short names.
    type: list
    elements: str
    default: []
  one_instance:
    description: Fail if several instances are selected, and name them.
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
- name: Find misspelled variables before a build begins
  llama_fleet.core.validate_variables:
    roles:
      - llama_cpp
      - llama_server
"""

RETURN = r"""
instances:
  description:
    - Names of the selected instances, either C(llama_server_instance) or all of C(llama_server_instances), with those
      that are not to run first.
  returned: success
  type: list
  elements: str
  sample: [chat, embed]
fleet:
  description: Names of all hosts of the play.
  returned: if the play runs in batches
  type: list
  elements: str
  sample: [gpu-1, gpu-2, gpu-3]
"""
