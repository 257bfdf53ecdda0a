# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""docs/doctor.md names every code that a program may meet."""

from __future__ import annotations

import pathlib
import re

from ansible_collections.llama_fleet.core.plugins.module_utils.preflight import pending as preflight_work
from ansible_collections.llama_fleet.core.plugins.module_utils.preflight import server as preflight_server

ROOT = pathlib.Path(__file__).resolve().parents[2]
UTILS = ROOT / "collections" / "ansible_collections" / "llama_fleet" / "core" / "plugins" / "module_utils"
# Whatever makes a check, and the code that comes first in it.
MAKES = re.compile(
    r'(?:\b(?:wrong|all_wrong|fine|Check|Place|_package|_file|_server|_row)\(\s*|\.get\(problem\.subject, )"([a-z_]+)"'
)


def test_the_table_of_codes_is_whole() -> None:
    controller = [
        UTILS.parent / "plugin_utils" / "upstream_checks.py",
        ROOT / "src" / "llama_fleet" / "cli" / "doctor.py",
    ]
    sources = [*(UTILS / "preflight").glob("*.py"), *controller]
    used = {code for path in sources for code in MAKES.findall(path.read_text(encoding="utf-8"))}
    used |= {*preflight_server._CODES.values(), *preflight_work._CODES.values(), "unreachable"}
    rows = re.findall(r"^\| (`.*?`) \|", (ROOT / "docs" / "doctor.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert {code for row in rows for code in re.findall(r"`([a-z_]+)`", row)} == used
