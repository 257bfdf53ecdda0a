# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Options of an instance to change one at a time, and what releases of three ages know."""

from __future__ import annotations

import functools
import pathlib
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.release.flags import parse_help
from ansible_collections.llama_fleet.core.tests.unit.fakes.options import CPU

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.release.flags import Flags

FIXTURES = pathlib.Path(__file__).parents[1] / "plugins" / "module_utils" / "fixtures" / "llama_server"
WANTED = CPU


@functools.cache
def flags(name: str = "help") -> Flags:
    """Parse the help of a fixture: ``help`` is from b11434, ``help_middle`` and ``help_old`` are from older builds."""
    return parse_help((FIXTURES / f"{name}.txt").read_text(encoding="utf-8"))
