# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation that modules have in common."""

from __future__ import annotations


class ModuleDocFragment:
    """Options of a stage and attributes of every module."""

    DOCUMENTATION = r"""
options:
  progress_file:
    description:
      - File on the host to which progress is written as JSON. Set by the module's action plugin.
    type: path
  plan_only:
    description:
      - Only plan. Report every problem and what would be done, and change nothing.
    type: bool
    default: false
  overrides:
    description:
      - Variables of this stage's role by their full names, which override the other parameters. Variables of other
        roles are ignored. A play over several instances sets it for each instance.
      - The module's action plugin merges them into the parameters, so they are validated in the same way.
    type: dict
    default: {}
"""

    OVERRIDES = r"""
options:
  overrides:
    description:
      - Variables of this stage's role by their full names, which override the other parameters. Variables of other
        roles are ignored. A play over several instances sets it for each instance.
      - The module's action plugin merges them into the parameters, so they are validated in the same way.
    type: dict
    default: {}
"""

    PLAN_ONLY = r"""
options:
  plan_only:
    description:
      - Only plan. Report every problem and what would be done, and change nothing.
    type: bool
    default: false
"""

    ATTRIBUTES = r"""
options: {}
attributes:
  check_mode:
    description: Supports check mode, which reports what would change and changes nothing.
  diff_mode:
    description: Supports diff mode, which reports what has changed, or would change in check mode.
"""

    INFO = r"""
options: {}
attributes:
  check_mode:
    description: Supports check mode, which reports what would change and changes nothing.
    support: full
  diff_mode:
    description: Supports diff mode, which reports what has changed, or would change in check mode.
    support: none
"""
