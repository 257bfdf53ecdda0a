# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: validate_variables
short_description: Check the variables of several roles before anything runs
version_added: 0.1.0
description:
  - Compares every variable that begins with the name of one of O(roles) with that role's argument specification.
  - Fails once, with a sentence for each unknown variable (and the nearest one that exists) and each value of a wrong type.
  - Runs on the controller only. Values that depend on results that are not there yet are left to the role's own check.
options:
  roles:
    description:
      - Roles of this collection, by their short names.
    type: list
    elements: str
    required: true
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
"""
