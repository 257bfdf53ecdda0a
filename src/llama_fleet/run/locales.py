# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Choose a locale for Ansible, which ends at once unless its encoding is UTF-8 and the machine has it."""

import locale

# The first one is part of every C library of the last years.
CANDIDATES = ("C.UTF-8", "en_US.UTF-8")


def variables() -> dict[str, str]:
    """Return the environment variables that give Ansible a locale; none if that of the environment will do."""
    former = locale.setlocale(locale.LC_ALL)
    try:
        name = next((name for name in ("", *CANDIDATES) if _is_usable(name)), CANDIDATES[0])
    finally:
        locale.setlocale(locale.LC_ALL, former)
    return {"LC_ALL": name} if name else {}


def _is_usable(name: str) -> bool:
    """Return whether Ansible accepts the locale ``name``, or that of the environment if it is empty."""
    try:
        locale.setlocale(locale.LC_ALL, name)
        return str(locale.getlocale()[1]).lower() in ("utf-8", "utf8")
    except (locale.Error, ValueError):
        return False
