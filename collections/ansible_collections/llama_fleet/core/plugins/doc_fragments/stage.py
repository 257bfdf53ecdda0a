# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the documentation of every module has in common."""

from __future__ import annotations


class ModuleDocFragment:
    """The arguments of a module whose action plugin shows its progress, and what each module promises."""

    DOCUMENTATION = r"""
options:
  progress_file:
    description:
      - File on the host to which the progress is written as JSON. The module's action plugin sets it.
    type: path
  plan_only:
    description:
      - Only plan. Find every problem and what would be done, and change nothing.
    type: bool
    default: false
  overrides:
    description:
      - Variables of the module's role by their full names, which win over the parameters given beside them. Those of
        other roles are left alone.
      - The module's action plugin puts them in their places, so that they are checked as if they had been given there.
    type: dict
    default: {}
"""

    OVERRIDES = r"""
options:
  overrides:
    description:
      - Variables of the module's role by their full names, which win over the parameters given beside them. Those of
        other roles are left alone.
      - The module's action plugin puts them in their places, so that they are checked as if they had been given there.
    type: dict
    default: {}
"""

    ATTRIBUTES = r"""
options: {}
attributes:
  check_mode:
    description: Can run in check mode and tell what would change, without changing anything.
  diff_mode:
    description: Returns what has changed, or in check mode would change, in diff mode.
"""
