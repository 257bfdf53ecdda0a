# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Render the list of the runtimes' classes from the table of their names in ``module_utils/runtimes.py``."""

import pathlib

from ansible_collections.llama_fleet.core.plugins.module_utils.runtimes import GPU_ACCESS
from llama_fleet.settings import COLLECTION

ROOM = "ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes"
FILE = COLLECTION / "plugins" / "module_utils" / "server" / "runtimes" / "classes.py"
TEXT = '''# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
# Made by docs/make_reference.py from module_utils/runtimes.py. Do not edit.
"""List the classes of the runtimes. Each is imported by name, because hosts get only files that are."""

from __future__ import annotations

import typing

{imports}

if typing.TYPE_CHECKING:
    from {room}.runtime import Runtime

ALL: tuple[type[Runtime], ...] = (
{names}
)
'''


def render_all() -> dict[pathlib.Path, str]:
    """Return the generated file with its content. The class of the runtime ``jail`` is ``jail.JailRuntime``."""
    imports = "\n".join(f"from {ROOM}.{name} import {name.title()}Runtime" for name in sorted(GPU_ACCESS))
    names = "\n".join(f"    {name.title()}Runtime," for name in GPU_ACCESS)
    return {FILE: TEXT.format(room=ROOM, imports=imports, names=names)}
