# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the runtimes, made from their table and their classes."""

from __future__ import annotations

import json
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils import runtimes
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.registry import RUNTIMES

_AUTOMATIC = " or ".join(f"V({name})" for name, kind in RUNTIMES.items() if kind.automatic)
_DESCRIPTION = [
    *(f"V({name}): {' '.join((kind.__doc__ or '').split())}" for name, kind in RUNTIMES.items()),
    f"V({runtimes.AUTO}): {_AUTOMATIC}, whichever is the first that the host can run.",
]


def _options(**runtime: list[str]) -> str:
    """Return the documentation of the option ``runtime`` as YAML, of which JSON is a part."""
    return json.dumps({"options": {"runtime": runtime}})


class ModuleDocFragment:
    """The values of the option that selects a runtime. The modules add its type, its default and its purpose."""

    # Annotated, because the linter of ansible-test expects text in a plain assignment.
    DOCUMENTATION: typing.ClassVar[str] = _options(choices=[*runtimes.choices()], description=_DESCRIPTION)
    GPU: typing.ClassVar[str] = _options(choices=["", *runtimes.choices()])
