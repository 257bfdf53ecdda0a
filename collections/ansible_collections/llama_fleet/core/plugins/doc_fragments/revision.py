# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which build of a source is wanted, and when a newer one is looked for."""

from __future__ import annotations


class ModuleDocFragment:
    """The arguments of llama_cpp_release that are about revisions."""

    DOCUMENTATION = r"""
options:
  version:
    description:
      - "With git: a tag, a commit of 40 digits, or V(latest) for the newest build tag; empty means V(latest)."
      - "With an archive: the name of the build; empty means the one that the archive's own name says."
    type: str
    default: ""
  update:
    description:
      - When a build is looked for that is newer than what is there.
      - V(always) does so at every run, for a source that names no certain build. So does a new compiler make a new
        release.
      - V(missing) only where no good release of O(source) is there that fits O(version), the host and the other
        options; nobody is asked.
      - V(never) not even then. That nothing is there is an error.
      - V(background) is as V(missing); the container image then also builds the newest one beside the server, for its
        next start.
    type: str
    choices: [always, background, missing, never]
    default: always
"""
