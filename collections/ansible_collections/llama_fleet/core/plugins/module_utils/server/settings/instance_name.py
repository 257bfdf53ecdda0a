# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Names of instances, which become folders, units and containers."""

from __future__ import annotations

import re

ACCEPTED = "1 to 40 lower-case letters, digits and hyphens, no hyphen first or last"
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")


def is_instance_name(text: str) -> bool:
    """Return whether an instance can have the name ``text``."""
    return bool(_NAME.fullmatch(text))
