# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Name the ways in which a server comes by the host's GPUs."""

from __future__ import annotations

# A unit has a user of its own and cannot make device files. Podman hands on what a description of the GPUs (CDI) names,
# docker what NVIDIA's toolkit finds. Any other process opens the device files itself.
UNIT, CDI, TOOLKIT, PROCESS = "unit", "cdi", "toolkit", ""
# By the runtime's name, and not asked of the runtime itself, because this stage knows nothing of servers.
_OF_RUNTIME = {"systemd": UNIT, "quadlet": CDI, "docker": TOOLKIT}


def of(runtime: str) -> str:
    """Return how a server of this runtime comes by GPUs; PROCESS for a runtime that is unknown or not chosen yet."""
    return _OF_RUNTIME.get(runtime, PROCESS)
